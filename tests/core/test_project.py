"""Where suites, families and runners are found, with and without a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from salver.core import project
from salver.core.errors import SalverError
from salver.families.registry import generators
from salver.families.suite import read_suite, suite_paths

ROOT = Path(__file__).resolve().parents[2]
SUITE = 'title = "{}"\ntimeout = 1\n[[family]]\ngenerator = "vg_box"\n'


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of somebody who installed a wheel with one suite and one family."""
    shipped, work = tmp_path / "site", tmp_path / "work"
    (shipped / "benchmarks").mkdir(parents=True)
    (shipped / "benchmarks" / "quick.toml").write_text(SUITE.format("shipped"))
    (shipped / "generators").mkdir()
    (shipped / "generators" / "vg_box.py").write_text((ROOT / "generators" / "vg_box.py").read_text())
    work.mkdir()
    monkeypatch.setattr(project, "SHIPPED", shipped)
    monkeypatch.setattr(project, "CHECKOUT", tmp_path)
    monkeypatch.delenv("SALVER_ROOT", raising=False)
    monkeypatch.chdir(work)
    return work


def test_an_installed_copy_needs_no_project(installed: Path) -> None:
    assert project.project_root() == installed
    assert list(suite_paths()) == ["quick"]
    assert list(generators()) == ["vg_box"]
    assert read_suite("quick").folder_name == "quick"


def test_what_is_ones_own_is_added_and_hides_what_was_shipped(installed: Path) -> None:
    for name in ("quick", "mine"):
        (installed / "benchmarks").mkdir(exist_ok=True)
        (installed / "benchmarks" / f"{name}.toml").write_text(SUITE.format("own"))
    (installed / "generators").mkdir()
    own = installed / "generators" / "other_file.py"
    own.write_text((ROOT / "generators" / "vg_box.py").read_text())
    assert list(suite_paths()) == ["mine", "quick"]
    assert read_suite("quick").title == "own"
    found = generators()
    assert list(found) == ["vg_box"]
    assert found["vg_box"].__module__.startswith("salver_plugin_other_file")
    assert not found.broken


def test_a_misspelt_root_is_refused(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_ROOT", str(installed / "none"))
    with pytest.raises(SalverError, match="no salver project here"):
        project.project_root()


def test_without_a_wheel_a_project_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_ROOT", str(tmp_path))
    assert not project.SHIPPED.exists()
    with pytest.raises(SalverError, match="no salver project here"):
        project.project_root()
