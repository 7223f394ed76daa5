"""Each recipe of CONTRIBUTING.md is followed to the letter in a copy of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.recipes import followed, recipe

MOST_FILES = {"Add a data set": 2, "Add an operator": 3}


@pytest.mark.parametrize("title", MOST_FILES)
def test_a_recipe_works_and_touches_few_files(title: str, tmp_path: Path) -> None:
    steps = recipe(title)
    done = followed(steps, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(steps.files) <= MOST_FILES[title]
