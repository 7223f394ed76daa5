"""The sentences, links and anchors of a Markdown page, as a reader of the site sees them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

from markdown import Markdown

EXTENSIONS = ("attr_list", "tables", "toc", "fenced_code", "pymdownx.arithmatex")
BLOCKS = frozenset({"p", "li", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote"})
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
ONE_WORD = {"code": "code", "a": "link", "script": "formula"}
_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+")
_ABBREVIATED = re.compile(r"\b(e\.g|i\.e|et al|cf|vs|etc|Fig|Math|No|pp?)\.$")
_WORD = re.compile(r"\w")


@dataclass
class _Reader(HTMLParser):
    """Texts of blocks; a code span, a link's text and a formula are one word each."""

    texts: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    terms: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)
    _text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if anchor := named.get("id"):
            self.anchors.add(anchor)
        if target := named.get("href") or named.get("src"):
            self.links.append(target)
        if tag in BLOCKS or tag == "pre":
            self._close_text()
        if not self._one_word() and tag in ONE_WORD:
            self._text += f" {ONE_WORD[tag]}" if self._text.endswith(" ") else ONE_WORD[tag]
        if tag not in ("img", "br", "hr", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS or tag == "pre":
            self._close_text()
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "strong" in self._open and not HEADINGS & set(self._open):
            self.terms.append(data)
        if not self._one_word() and not {"pre", "style"} & set(self._open):
            self._text += data

    def _one_word(self) -> bool:
        return bool(ONE_WORD.keys() & set(self._open))

    def _close_text(self) -> None:
        inside = set(self._open)
        if self._text.strip() and not HEADINGS & inside and "pre" not in inside:
            self.texts.append(" ".join(self._text.split()))
        self._text = ""


@dataclass(frozen=True)
class Page:
    """What is read off a page.

    Attributes:
        sentences: of paragraphs, list entries and table cells, in order.
        links: addresses of links and pictures as they are written.
        anchors: names that a link to a part of the page may have.
    """

    sentences: tuple[str, ...]
    links: tuple[str, ...]
    anchors: frozenset[str]

    @property
    def longest(self) -> int:
        return max(map(length, self.sentences), default=0)


@cache
def read(file: Path) -> Page:
    """The page as Python-Markdown, which makes the site, understands it."""
    text = re.sub(r"<!--.*?-->", "", file.read_text(), flags=re.DOTALL)
    reader = _Reader()
    reader.feed(Markdown(extensions=list(EXTENSIONS)).convert(text))
    reader.close()
    sentences = tuple(sentence for text in reader.texts for sentence in split(text))
    return Page(sentences, tuple(reader.links), frozenset(reader.anchors))


def split(text: str) -> list[str]:
    """The sentences of a text; an abbreviation ends none."""
    found: list[str] = []
    for part in _END.split(text):
        if found and _ABBREVIATED.search(found[-1]):
            found[-1] += f" {part}"
        elif part:
            found.append(part)
    return found


def length(sentence: str) -> int:
    """How many words a sentence has; signs alone are none."""
    return sum(bool(_WORD.search(word)) for word in sentence.split())
