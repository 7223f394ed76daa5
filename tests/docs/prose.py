"""The sentences, links and anchors of a Markdown page, as a reader of the site sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

from markdown import Markdown

EXTENSIONS = ("attr_list", "tables", "toc", "pymdownx.superfences", "pymdownx.arithmatex")
BLOCKS = frozenset({"p", "li", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote"})
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
FORMULA = "formula"
ONE_WORDS = {"code": "code", "a": "link", FORMULA: "formula"}
_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+")
_ABBREVIATED = re.compile(r"\b(e\.g|i\.e|et al|cf|vs|etc|Fig|Math|No|pp?)\.$")
_PLAIN_WORD = re.compile(r"[a-z][\w-]*")
_LOST_LIST = re.compile(r"^[*-] .+", re.MULTILINE)
_WORD = re.compile(r"\w")


@dataclass
class _Reader(HTMLParser):
    """Texts of blocks; a code span, a link's text and a formula are one word each."""

    texts: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    introduced: list[str] = field(default_factory=list)
    lost_lists: list[str] = field(default_factory=list)
    _open: list[tuple[str, str]] = field(default_factory=list)
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
        kind = FORMULA if named.get("class") == "arithmatex" else tag
        if not self._one_word() and kind in ONE_WORDS:
            self._text += ONE_WORDS[kind]
        if tag not in ("img", "br", "hr", "input"):
            self._open.append((tag, kind))

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS or tag == "pre":
            self._close_text()
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == [("strong", "strong")] and _PLAIN_WORD.fullmatch(data):
            self.introduced.append(data)
        if not self._one_word() and not self._inside({"pre", "style"}):
            self._text += data

    def _one_word(self) -> bool:
        return self._inside(ONE_WORDS)

    def _inside(self, kinds: Iterable[str]) -> bool:
        return bool({kind for _, kind in self._open} & set(kinds))

    def _close_text(self) -> None:
        self.lost_lists += _LOST_LIST.findall(self._text)
        if self._text.strip() and not self._inside({*HEADINGS, "pre"}):
            self.texts.append(" ".join(self._text.split()))
        self._text = ""


@dataclass(frozen=True)
class Page:
    """What is read off a page.

    Attributes:
        sentences: of paragraphs, list entries and table cells, in order.
        links: addresses of links and pictures as they are written.
        anchors: names that a link to a part of the page may have.
        introduced: single words in bold that begin with a small letter, as a text introduces a term.
        lost_lists: lines that look like entries of a list and are none, for want of an empty line before it.
    """

    sentences: tuple[str, ...]
    links: tuple[str, ...]
    anchors: frozenset[str]
    introduced: tuple[str, ...]
    lost_lists: tuple[str, ...]


@cache
def read(file: Path) -> Page:
    """The page as Python-Markdown, which makes the site, understands it."""
    text = re.sub(r"<!--.*?-->", "", file.read_text(), flags=re.DOTALL)
    reader = _Reader()
    reader.feed(_parser().reset().convert(text))
    reader.close()
    sentences = tuple(sentence for text in reader.texts for sentence in split(text))
    return Page(
        sentences,
        tuple(reader.links),
        frozenset(reader.anchors),
        tuple(reader.introduced),
        tuple(reader.lost_lists),
    )


@cache
def _parser() -> Markdown:
    return Markdown(extensions=EXTENSIONS, extension_configs={"pymdownx.arithmatex": {"generic": True}})


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
