"""The pages can be read: short sentences, links that lead somewhere, words that are explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from salver.explain.explanation import Form
from salver.families.registry import generators
from salver.judge.judgement import Outcome, ProofVerdict, WitnessVerdict
from salver.points.decide import Robustness
from salver.spec.truth import Evidence
from tests.docs.commands import ROOT, documents
from tests.docs.prose import length, read, split

DOCS = ROOT / "docs"
LONGEST = 25
# Pages that people read first: they lead to the glossary.
READ_FIRST = ("index", "check", "which-method", "metrics", "families", "tour", "verdicts", "leaderboard")
TERMS = (
    "attack", "ball", "baseline", "bound", "box", "certificate", "certified", "claim", "complete",
    "counterexample", "delta", "delta*", "E", "engine", "enumerated", "epsilon", "epsilon*", "falsified",
    "family", "form", "gate", "instance", "known answer", "label", "logit", "mask", "McCormick planes",
    "method", "neuron", "norm", "ONNX", "PAR-2", "peer", "planted", "proof", "query", "question", "radius",
    "ReLU", "replay", "robust", "run", "runner", "saliency map", "sat", "score", "solver", "suite",
    "supervisor", "top-k set", "unroll", "unsat", "verified", "violation", "virtual best", "VNN-COMP",
    "VNN-LIB", "witness", "xhat", "zoo",
)  # fmt: skip
UNTOLD = {"none", "absent", "uncheckable"}
"""Words of the judge that say that there is nothing to tell, or what `unknown` says."""
PAGES = [pytest.param(page, id=page.stem) for page in documents()]


def entries() -> dict[str, str]:
    """The glossary: what it says of each heading."""
    parts = (DOCS / "glossary.md").read_text().split("\n### ")[1:]
    return {name: text.strip() for name, _, text in (part.partition("\n") for part in parts)}


def explained() -> set[str]:
    return {term for heading in entries() for term in heading.split(", ")}


@pytest.mark.parametrize("page", PAGES)
def test_sentences_are_short(page: Path) -> None:
    long = [sentence for sentence in read(page).sentences if length(sentence) > LONGEST]
    assert not long, "\n".join(f"{length(sentence)} words: {sentence}" for sentence in long)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in read(page).links:
        path, _, anchor = link.partition("#")
        target = page if not path else page.parent / path
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists() or (anchor and anchor not in read(target.resolve()).anchors):
            lost.append(link)
    assert not lost


@pytest.mark.parametrize("page", PAGES)
def test_lists_are_lists_on_the_site_too(page: Path) -> None:
    assert read(page).lost_lists == ()


def test_the_glossary_explains_every_term_in_a_few_words() -> None:
    assert set(TERMS) - explained() == set()
    assert {
        str(word) for word in (*Outcome, *Evidence, *ProofVerdict, *WitnessVerdict)
    } - UNTOLD <= explained()
    assert {str(word) for word in Robustness} <= explained()
    text = (DOCS / "glossary.md").read_text()
    assert [form.value for form in Form if form.value not in text] == []
    for heading, text in entries().items():
        assert 1 <= len(split(text)) <= 4, heading
        assert "](" in text, f"{heading} leads to no page that says more"


def test_the_glossary_is_in_alphabetical_order() -> None:
    assert list(entries()) == sorted(entries(), key=str.casefold)


@pytest.mark.parametrize("name", READ_FIRST)
def test_pages_that_are_read_first_lead_to_the_glossary(name: str) -> None:
    assert "glossary.md" in read(DOCS / f"{name}.md").links


@pytest.mark.parametrize("page", PAGES)
def test_words_that_a_page_introduces_are_in_the_glossary(page: Path) -> None:
    """A single word in bold that begins with a small letter is one that the page introduces."""
    introduced = {word.casefold() for word in read(page).introduced}
    assert introduced <= {term.casefold() for term in explained()}


def test_every_family_says_what_falsified_means() -> None:
    table = (DOCS / "families.md").read_text().partition("## What falsified means")[2].partition("\n## ")[0]
    assert [name for name in generators() if f"`{name}`" not in table] == []
    plain = table.replace("`", "")
    assert [n for n, kind in generators().items() if kind.falsified.rstrip(".") not in plain] == []
    assert [n for n, kind in generators().items() if not kind.falsified.endswith(".")] == []
    pages = sorted(DOCS.glob("family-*.md"))
    assert [page.name for page in pages if "**Falsified means**" not in page.read_text()] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two words.", [1, 2]),
        ("See e.g. this one (Le et al. 2024). Next?", [8, 1]),
        ("`salver run a b c` is one word; so is [a link of words](x.md).", [7]),
        ("* one\n* two, three\n\n| a | b |\n|---|---|\n| c d | e. f g |", [1, 2, 1, 1, 2, 1, 2]),
        ("    a block of code\n", []),
        ("Here $a + b$ is **one** word.\n\n$$\na \\le b\n$$\n\nThe end.", [5, 1, 2]),
    ],
)
def test_sentences_are_counted_as_a_reader_does(text: str, found: list[int], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A heading is no sentence\n\n{text}")
    assert [length(sentence) for sentence in read(page).sentences] == found
