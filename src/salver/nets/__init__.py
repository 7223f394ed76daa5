"""Feed-forward networks as plain data: read from ONNX or torch, written to ONNX."""
