"""`[publication]` of a suite: whose a published set is, how it may be used and how it is cited."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field

from salver.core.records import Record


def valid_orcid(text: str) -> str:
    """An ORCID iD as 0000-0002-1825-0097, also where its address was given.

    Raises:
        ValueError: another form, or a check digit that does not fit (ISO 7064, MOD 11-2).
    """
    digits = re.sub(r"^https?://(www\.)?orcid\.org/", "", text.strip()).upper()
    if not re.fullmatch(r"[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{3}[0-9X]", digits):
        raise ValueError(f"{text[:40]!r} is no ORCID iD; write it as 0000-0002-1825-0097")
    total = 0
    for digit in digits[:-1].replace("-", ""):
        total = (total + int(digit)) * 2 % 11
    if "0123456789X"[(12 - total) % 11] != digits[-1]:
        raise ValueError(f"the check digit of ORCID iD {digits} does not fit; compare it with the original")
    return digits


def valid_licence(text: str) -> str:
    """A licence as an SPDX expression, in SPDX's own spelling of upper and lower case.

    Raises:
        ValueError: no licence of SPDX's list, nor an expression of such.
    """
    what = f"{text[:60]!r} is no SPDX licence; choose one of https://spdx.org/licenses, such as CC-BY-4.0"
    try:
        found = str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        raise ValueError(what) from None
    if "LicenseRef-" in found:  # whose text nobody would find
        raise ValueError(what)
    return found


def valid_day(value: Any) -> str:
    """A day as YYYY-MM-DD; TOML's own dates too.

    Raises:
        ValueError: another form, or a day that no calendar has.
    """
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.isoformat()
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError(f"{str(value)[:40]!r} is no date; write YYYY-MM-DD")
    try:
        return datetime.date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError(f"there is no day {value}; write YYYY-MM-DD") from None


def valid_doi(text: str) -> str:
    """A DOI as 10.1234/abc, also where its address was given.

    Raises:
        ValueError: another form.
    """
    plain = re.sub(r"^(https?://(dx\.)?doi\.org/|doi:)", "", text.strip(), flags=re.IGNORECASE)
    if not re.fullmatch(r"10\.[0-9]{4,9}/[!-~]{1,200}", plain):
        raise ValueError(f"{text[:60]!r} is no DOI; write it as 10.5281/zenodo.1234567")
    return plain


def valid_url(text: str) -> str:
    """An address of the web.

    Raises:
        ValueError: another form, or characters that addresses do not have.
    """
    if not re.fullmatch(r"https?://[^\s<>\"{}|^`\\]+", text) or not text.isprintable():
        raise ValueError(f"{text[:60]!r} is no address; write it as https://example.org/set")
    return text


def one_line(text: str) -> str:
    """Text that stands in a line of the licence, the data card and the citation.

    Raises:
        ValueError: empty, or with characters that are not printed.
    """
    if not text.strip() or not text.isprintable():
        raise ValueError("write one line of text that is not empty")
    return text.strip()


def paragraph(text: str) -> str:
    """Text that may have several lines.

    Raises:
        ValueError: empty, or with characters that are not printed.
    """
    if not text.strip() or not all(line.replace("\t", " ").isprintable() for line in text.splitlines()):
        raise ValueError("write text that is not empty and has no control characters")
    return text.strip()


Line = Annotated[str, Field(max_length=500), AfterValidator(one_line)]
Day = Annotated[str, BeforeValidator(valid_day)]
Url = Annotated[str, Field(max_length=500), AfterValidator(valid_url)]


class Author(Record):
    """A person, or a group of persons, who made a set. Commas part a family name from given names."""

    name: Line
    orcid: Annotated[str, AfterValidator(valid_orcid)] | None = None
    affiliation: Line | None = None


class DataOrigin(Record):
    """Whose the data is that a set's points are from: `[[publication.data]]`.

    Attributes:
        name: of the file or folder, as the suite names it.
        source: who made it, and where it is described.
    """

    name: Line
    title: Line | None = None
    source: Line | None = None
    url: Url | None = None
    licence: Annotated[str, AfterValidator(valid_licence)] | None = Field(
        default=None, validation_alias=AliasChoices("licence", "license")
    )


class Publication(Record):
    """What only the maker of a set knows about it; what is not given is left out of the set."""

    title: Line | None = None
    authors: tuple[Author, ...] = ()
    licence: Annotated[str, AfterValidator(valid_licence)] | None = Field(
        default=None, validation_alias=AliasChoices("licence", "license")
    )
    doi: Annotated[str, AfterValidator(valid_doi)] | None = None
    citation: Annotated[str, Field(max_length=5000), AfterValidator(paragraph)] | None = None
    keywords: tuple[Line, ...] = ()
    url: Url | None = None
    date: Day | None = None
    data: tuple[DataOrigin, ...] = ()
