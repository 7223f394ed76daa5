"""Any explanation, told apart by its `method`: a new method's file is imported here, and so registered."""

from __future__ import annotations

from typing import Annotated

from salver.explain import cam, grad_cam, gradient, smoothgrad  # noqa: F401 - registers the methods
from salver.explain.explanation import METHODS, Explanation

AnyExplanation = Annotated[Explanation, METHODS]
