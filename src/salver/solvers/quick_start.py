"""Imports at the start of `salver-solve`, where they are most of the time that a small query takes.

scipy copies every public name of numpy into a module of its own. That loads what numpy keeps for those who
ask for it by name, such as its test tools and its wrappers of Fortran: an eighth of a small query's time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_UNUSED = ("ctypeslib", "f2py", "ma", "polynomial", "testing")
"""Modules that numpy loads when its attribute of that name is first read; importing scipy needs none."""


@contextmanager
def quick_imports() -> Iterator[None]:
    """Keeps scipy, where it is imported meanwhile, from loading `_UNUSED`; then all is there as ever."""
    import numpy

    names = vars(numpy)
    stand_ins = {name: ModuleType(f"numpy.{name}") for name in _UNUSED if name not in names}
    names.update(stand_ins)
    try:
        yield
    finally:
        for name, module in stand_ins.items():
            if names.get(name) is module:
                del names[name]
