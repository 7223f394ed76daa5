"""Embedded verifiers, each a stand-alone command: `salver-solve NAME verify Q.vnnlib --network N=M.onnx`."""
