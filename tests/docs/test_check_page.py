"""The Python examples of the pages run in order, and print what stands below them."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from tests.docs.commands import ROOT, blocks

NAMED = ("README.md", "docs/check.md", "docs/metrics.md")
PAGES = [ROOT / name for name in NAMED if "```python" in (ROOT / name).read_text()]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_print_what_they_say(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    printed = ""
    for block in blocks(page):
        if block.language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec("\n".join(block.lines), names)
            printed = out.getvalue()
        elif block.language == "text" and printed:
            assert [line for line in block.lines if line not in printed] == []
