"""Each recipe of CONTRIBUTING.md is followed to the letter in a copy of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.recipes import followed, recipe

MOST_FILES = {
    "Add a data set": 2,
    "Add an operator": 3,
    "Add a method": 3,
    "Add a question": 3,
    "Add a family": 2,
    "Add a solver": 2,
    "Add a tool of others": 1,
    "Add a report column": 2,
}


SLOW = ("Add a solver", "Add a tool of others")
"""Their test kit waits for limits of time."""


@pytest.mark.parametrize(
    "title", [pytest.param(title, marks=[pytest.mark.slow] * (title in SLOW)) for title in MOST_FILES]
)
def test_a_recipe_works_and_touches_few_files(title: str, tmp_path: Path) -> None:
    steps = recipe(title)
    done = followed(steps, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(steps.files) <= MOST_FILES[title]
