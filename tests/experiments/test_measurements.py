"""Pages of figures are made from records, and reference pages hold no measured tables of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments.measurements import FOLDER, Block, as_json, kept, page, pages, read
from salver.core.errors import SalverError

DOCS = FOLDER.parent
TABLE = re.compile(r"^\|[-:| ]+\|\n((?:\|.*\|\n?)+)", re.MULTILINE)
NUMBERS = re.compile(r"[-\d.,/ %<>]*\d[-\d.,/ %se]*")


def test_the_pages_are_what_the_records_say() -> None:
    written = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    assert written == pages(), "run python -m experiments.measurements"


@pytest.mark.parametrize("record", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_record_leads_to_its_page_and_back(record: Path) -> None:
    found = read(record)
    assert found.commit
    assert found.machine
    assert f"measurements/{record.stem}.md" in (DOCS / found.about).read_text()


def test_no_other_page_has_a_measured_table() -> None:
    """A table of numbers is measured, unless it tells of networks and answers in the repository."""
    found = set()
    for path in DOCS.glob("*.md"):
        for section in path.read_text().split("\n## ")[1:]:
            rows = [row for table in TABLE.findall(section) for row in table.splitlines()]
            cells = [cell.strip() for row in rows for cell in row.strip("|").split("|")[1:]]
            numbers = sum(NUMBERS.fullmatch(cell) is not None for cell in cells)
            if 3 * numbers > len(cells):
                found.add((path.stem, section.partition("\n")[0]))
    assert found == {("networks", "The zoo"), ("soundness", "How the answers are known")}


def test_a_run_and_a_bench_become_records(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("solver,solved\nhybrid,7\n")
    (tmp_path / "long.csv").write_text("n\n" + "1\n" * 1000)
    bench = kept(tmp_path, "a bench", "bench.md", "salver bench peers", [Block(text="Words stay.")])
    assert bench.blocks == (
        Block(columns=("solver", "solved"), rows=(("hybrid", "7"),)),
        Block(text="Words stay."),
    )
    assert "| hybrid | 7 |" in page(bench)
    (tmp_path / "leaderboard.csv").write_text("solver,verified\nmilp,3\n")
    run = kept(tmp_path, "a run", "bench.md", "salver run quick")
    assert run.blocks == (Block(columns=("solver", "verified"), rows=(("milp", "3"),)),)
    path = tmp_path / "run.json"
    path.write_text(as_json(run))
    assert read(path) == run
    assert '["milp", "3"]' in path.read_text()


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SalverError, match="holds no table that fits a page"):
        kept(tmp_path, "t", "bench.md", "salver run quick")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(SalverError, match="is no JSON"):
        read(tmp_path / "bad.json")
