"""salver: a benchmark harness for the robustness of a network's explanations; see `salver.api`."""

import importlib
import importlib.util
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What `salver.api` offers, imported when it is first asked for.

    Python asks here for packages as well, before it imports them for `from salver import proofs`.
    """
    if not name.startswith("_") and importlib.util.find_spec(f"salver.{name}") is None:
        api = importlib.import_module("salver.api")
        if name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module 'salver' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What `salver.api` offers, for those who ask a notebook to complete a name."""
    return ["__version__", *importlib.import_module("salver.api").__all__]
