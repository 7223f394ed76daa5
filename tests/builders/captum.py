"""Captum's methods, loaded when a test asks for one: they bring matplotlib, which collecting can spare."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if not name[0].isupper():  # pytest asks every name of a test module for marks of its own
        raise AttributeError(name)
    import captum.attr

    return getattr(captum.attr, name)
