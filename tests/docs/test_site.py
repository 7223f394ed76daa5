"""The documentation builds without a warning, loads nothing from elsewhere, and shows every family."""

from __future__ import annotations

import html
import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from salver.explain.explanation import METHODS
from salver.explain.unsupported import METHODS as UNSUPPORTED
from salver.families.question import QUESTIONS
from salver.families.registry import generators
from salver.solvers.registry import SOLVERS
from tests.docs.commands import ROOT, leaves

DOCS = ROOT / "docs"
FAMILY_PAGES = sorted(DOCS.glob("family-*.md"))
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
FORMULA = re.compile(r"^\$\$\n.+?\n\$\$$", re.MULTILINE | re.DOTALL)


class Loaded(HTMLParser):
    """Addresses that a browser loads to show a page: all but those of links to click."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = (
            ("src", "srcset", "data", "poster") if tag == "a" else ("src", "href", "srcset", "data", "poster")
        )
        self.found += [value for name, value in attrs if name in names and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = sorted(site.glob("**/*.html"))
    assert len(pages) > 10
    for page in pages:
        away = [address for address in Loaded(page.read_text()).found if re.match(r"(https?:)?//", address)]
        assert not away, f"{page.name}: {away}"
        for address in Loaded(page.read_text()).found:
            path = address.partition("#")[0].partition("?")[0]
            if page.name != "404.html" and path and not path.startswith("data:"):
                assert (page.parent / path).exists(), f"{page.name}: {address}"
    for style in site.glob("**/*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text()), style.name


@pytest.mark.slow
def test_search_finds_the_families_without_a_server(site: Path) -> None:
    index = (site / "search" / "search_index.js").read_text()
    assert "IFrameWorker" in (site / "javascripts" / "iframe-worker.js").read_text()
    for page in FAMILY_PAGES:
        assert f"{page.stem}.html" in index


@pytest.mark.slow
def test_formulas_are_mathml(site: Path) -> None:
    for page in FAMILY_PAGES:
        text = (site / f"{page.stem}.html").read_text()
        count = len(FORMULA.findall(page.read_text()))
        assert text.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">') == count
        assert "arithmatex" not in text
        for formula in re.findall("<math.*?</math>", text, re.DOTALL):
            assert "\\" not in formula, "something was not understood"


@pytest.mark.slow
def test_every_command_is_in_the_reference(site: Path) -> None:
    text = html.unescape((site / "cli.html").read_text())
    for path, _ in leaves():
        assert f"Usage: {' '.join(('salver', *path))} " in text
    for line in ("usage: salver-solve SOLVER verify", "usage: salver-solve check-proof"):
        assert line in text


@pytest.mark.parametrize("page", FAMILY_PAGES, ids=lambda page: page.stem)
def test_a_family_page_has_a_formula_and_a_picture(page: Path) -> None:
    text = page.read_text()
    assert FORMULA.search(text)
    pictures = IMAGE.findall(text)
    assert pictures
    for told, address in pictures:
        assert len(told) > 20, f"{address} needs a text for who cannot see it"
        assert "<svg" in (DOCS / address).read_text()
        assert (DOCS / address).stat().st_size < 50_000


def test_every_family_has_a_page() -> None:
    titles = [line for page in FAMILY_PAGES for line in page.read_text().splitlines() if line.startswith("#")]
    overview = (DOCS / "families.md").read_text()
    for name in generators():
        assert any(re.search(rf"\b{name}\b", title) for title in titles), name
        assert name in overview
    for page in FAMILY_PAGES:
        assert page.name in overview


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_pictures_are_what_the_script_draws() -> None:
    script = _script("pictures")
    drawn = {*script.all_pictures(), "floors"}
    assert {path.stem for path in (DOCS / "img").glob("*.svg")} == drawn
    for name in ("family-topk-rank", *(f"method-{name}" for name in METHODS.known)):
        assert script.picture(name) == (DOCS / "img" / f"{name}.svg").read_text()


@pytest.mark.slow
def test_every_method_and_question_has_a_picture_and_a_section(site: Path) -> None:
    text, page = (DOCS / "which-method.md").read_text(), (site / "which-method.html").read_text()
    for kind, names in (("method", METHODS.known), ("question", QUESTIONS.known)):
        for name in names:
            section = text.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
            (told, address), *_ = IMAGE.findall(section)
            assert address == f"img/{kind}-{name}.svg"
            assert len(told) > 20
    for name, record in METHODS.known.items():
        assert f'<a href="#{name}"><code>{name}</code></a></td>\n<td>{record.form.value}</td>' in page
    for refused in UNSUPPORTED:
        assert f"<td>{refused.name}</td>\n<td>{refused.reason}</td>" in page
    assert sum(path.stat().st_size for path in (DOCS / "img").glob("*.svg")) < 300_000


@pytest.mark.slow
def test_every_embedded_solver_has_a_row(site: Path) -> None:
    page = (site / "solvers.html").read_text()
    for solver in SOLVERS.values():
        assert f"<td><code>{solver.name}</code></td>" in page


def test_the_drawn_floors_are_those_of_the_contract() -> None:
    script = _script("floors")
    assert script.drawn() == script.PICTURE.read_text()
    packages = {path.parent.name for path in (ROOT / "src" / "salver").glob("*/__init__.py")}
    assert packages <= {name.removeprefix("salver.") for name in script.floors()}


@pytest.mark.slow
def test_the_python_interface_shows_signatures_and_docstrings(site: Path) -> None:
    page = (site / "api.html").read_text()
    for name in ("Runner", "Generator", "read_onnx", "unroll"):
        assert f".{name}" in page
    assert "Raises" in page
