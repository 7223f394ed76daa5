"""Loading of ONNX files, which are untrusted: checked, and with nothing outside the file."""

from __future__ import annotations

from pathlib import Path

import onnx

from salver.errors import SalverError


def load_model(path: Path) -> onnx.ModelProto:
    """Loads and checks an ONNX file; external data is refused.

    Raises:
        SalverError: missing, corrupt, or with data outside the file.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
        if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
            raise SalverError("keeps weights in other files", str(path), "save it with its weights inside")
        onnx.checker.check_model(model)
    except SalverError:
        raise
    except OSError as error:
        raise SalverError(f"cannot be read ({error.strerror})", str(path), "check the path") from error
    except Exception as error:  # protobuf and the checker raise many unrelated types
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SalverError(f"is no valid ONNX file ({first})", str(path), "export the model again") from error
    return model
