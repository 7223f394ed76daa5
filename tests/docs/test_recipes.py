"""The recipes of CONTRIBUTING.md are followed to the letter in a copy of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.recipes import followed, recipe
from tests.conftest import ROOT

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


@pytest.mark.parametrize("title", MOST_FILES)
def test_a_recipe_touches_few_files_and_needs_no_other_recipe(title: str) -> None:
    steps = recipe(title)
    assert len(steps.files) <= MOST_FILES[title]
    said = "".join((*steps.files, *steps.files.values(), steps.check))
    written = {name for other in MOST_FILES if other != title for name in recipe(other).files}
    new = {name for name in written if not (ROOT / name).exists()}
    modules = {name.removeprefix("src/").removesuffix(".py").replace("/", ".") for name in new}
    assert not [name for name in new | modules if name in said]


@pytest.mark.slow
def test_recipes_work(tmp_path: Path) -> None:
    """All in one copy: the processes that they start cost more than what they do."""
    done = followed([recipe(title) for title in MOST_FILES], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
