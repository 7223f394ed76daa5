"""Whose a published set is: salver's own networks keep salver's licence, others carry their owners' words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salver.core.confined import read_inside
from salver.core.errors import SalverError, suggestion
from salver.core.records import Record
from salver.families.instance import Manifest
from salver.families.publication import Author, Day, Line, Publication, Url
from salver.nets.onnx.file import network_name
from salver.publish.validate import MOST_LISTED_BYTES
from salver.zoo.datasets.catalogue import origin_of
from salver.zoo.datasets.record import DECLARED, Origin
from salver.zoo.networks import ZOO

OWN_LICENCE = "BSD-3-Clause"
OWN_CREATOR = "the salver authors"
_NETWORKS = (".onnx", ".onnx.gz", ".h5", ".hdf5", ".npz")
OWN_TEXT = Path(__file__).with_name("LICENSE.txt")
_VARIANTS = r"(-s[0-9]+|-needle-.+|-gates-.+)?"
"""What families add to the name of a network of the zoo that they train with another seed or build on."""


class Terms(Record):
    """What the publisher says on the command line; it goes before the suite's `[publication]`."""

    url: Url | None = None
    date: Day | None = None
    creator: Line | None = None


@dataclass(frozen=True)
class Rights:
    """What a set says about its origin.

    Attributes:
        publication: the suite's, with the address and day of publication.
        creator: an organisation that the metadata names in place of the authors.
        own, foreign: networks of salver's zoo and others, by name.
    """

    publication: Publication
    creator: str | None
    own: tuple[str, ...]
    foreign: tuple[str, ...]

    @property
    def licence(self) -> str:
        """SPDX expression of the networks, or of the foreign ones where there are such."""
        return self.publication.licence or OWN_LICENCE

    @property
    def licences(self) -> tuple[str, ...]:
        """Every SPDX licence of the set's own contents."""
        stated = re.findall(r"[A-Za-z0-9.+-]+", self.licence)
        names = [name.removesuffix("+") for name in stated if name not in ("AND", "OR", "WITH")]
        own = [OWN_LICENCE] if self.own and self.foreign else []
        return tuple(dict.fromkeys([*names, *own]))

    def origin(self, dataset: str) -> Origin:
        """The source of a data set: as the suite states it, else as the catalogue does."""
        known = origin_of(dataset)
        for one in self.publication.data:
            if one.name.rstrip("/") == dataset.rstrip("/"):
                return Origin(
                    one.title or known.title, one.source or known.source, one.url or "", one.licence or ""
                )
        return known

    @property
    def creators(self) -> tuple[Author, ...]:
        """Authors, or the organisation in their place; nobody where a foreign set names nobody."""
        if self.creator:
            return (Author(name=self.creator),)
        if self.publication.authors:
            return self.publication.authors
        return () if self.foreign else (Author(name=OWN_CREATOR),)

    @property
    def missing(self) -> tuple[str, ...]:
        """What Croissant requires and nobody gave."""
        absent = [f"--{name}" for name in ("url", "date") if getattr(self.publication, name) is None]
        return (*absent, *(() if self.creators else ("--creator",)))


def rights_of(
    manifest: Manifest, files: Iterable[str], publication: Publication | None, terms: Terms
) -> Rights:
    """Whose the networks of a set are.

    Args:
        files: paths of the files that the set was made from.

    Raises:
        SalverError: a foreign network without a licence, or another licence for salver's own.
    """
    stated = publication or Publication()
    changes = {key: value for key in ("url", "date") if (value := getattr(terms, key)) is not None}
    named = {network_name(Path(path)) for path in files if path.lower().endswith(_NETWORKS)}
    names = sorted({Path(i.network).stem for i in manifest.instances})
    ours = re.compile(f"({'|'.join(map(re.escape, ZOO))}){_VARIANTS}")
    _refuse_other_data(stated, manifest)
    own = tuple(n for n in names if ours.fullmatch(n) and not any(_built_on(n, name) for name in named))
    foreign = tuple(n for n in names if n not in own)
    if foreign and stated.licence is None:
        what = f"network {foreign[0]} is not salver's, and nothing says under which licence it is published"
        hint = 'add `[publication]` with `licence = "..."` (an SPDX name such as CC-BY-4.0) and `authors`'
        raise SalverError(what, f"suite {manifest.suite}", hint)
    if not foreign and stated.licence not in (None, OWN_LICENCE):
        what = f"its networks are salver's own, which are under {OWN_LICENCE}, not {stated.licence}"
        raise SalverError(what, f"suite {manifest.suite}", "leave `licence` out of [publication]")
    return Rights(stated.model_copy(update=changes), terms.creator, own, foreign)


def _refuse_other_data(stated: Publication, manifest: Manifest) -> None:
    used = {instance.known.dataset for instance in manifest.instances}
    plain = {name.rstrip("/") for name in used}
    for one in stated.data:
        where = f"suite {manifest.suite}, publication.data"
        if one.name.rstrip("/") not in plain:
            raise SalverError(f"no instance is about {one.name}", where, suggestion(one.name, sorted(used)))
        if one.name in DECLARED:
            raise SalverError(f"{one.name} is a set of the catalogue", where, "leave it out")


def _built_on(network: str, name: str) -> bool:
    return bool(re.fullmatch(re.escape(name) + _VARIANTS, network))


def terms_of(folder: Path) -> Terms:
    """What the publisher of a folder said about it.

    Raises:
        SalverError: no published set there.
    """
    try:
        stated = json.loads(read_inside(folder, "croissant.json", MOST_LISTED_BYTES))
        creator = stated.get("creator")
        name = creator.get("name") if isinstance(creator, dict) else None
        return Terms(
            url=stated.get("url"),
            date=stated.get("datePublished"),
            creator=None if name == OWN_CREATOR else name,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SalverError(
            f"holds no published set ({error})", str(folder), "publish one there first"
        ) from error


def kept(terms: Terms, publication: Publication | None, earlier: Terms) -> Terms:
    """Terms completed by what an earlier publication said and neither they nor the suite say now."""
    stated = publication or Publication()
    update: dict[str, Any] = {}
    for name in ("url", "date"):
        if getattr(terms, name) is None and getattr(stated, name) is None:
            update[name] = getattr(earlier, name)
    if terms.creator is None and not stated.authors:
        update["creator"] = earlier.creator
    return terms.model_copy(update=update)


def licence_file(rights: Rights, title: str, datasets: Iterable[str]) -> str:
    """LICENSE of the set: of its networks and properties, then what the data's owners state."""
    parts = [_foreign_text(rights, title)] if rights.foreign else []
    if rights.own or not rights.foreign:
        heading = f"Networks {', '.join(rights.own)}:\n\n" if rights.foreign else ""
        parts.append(heading + OWN_TEXT.read_text().rstrip())
    lines = ["The properties hold boxes around points of these data sets:", ""]
    for origin in [rights.origin(name) for name in sorted(set(datasets))]:
        lines.append(f"{origin.title}: {origin.source}")
        lines += [f"  {origin.url}"] if origin.url else []
        lines.append(f"  Licence: {origin.licence_text}")
    return f"\n\n{'-' * 78}\n".join([*parts, "\n".join(lines)]) + "\n"


def _foreign_text(rights: Rights, title: str) -> str:
    year = (rights.publication.date or "")[:4]
    holders = ", ".join(author.name for author in rights.creators)
    lines = [title, ""]
    if holders:
        lines += [f"Copyright (c) {year + ', ' if year else ''}{holders}", ""]
    lines += [
        f"Networks {', '.join(rights.foreign)}, and the instances of this set:",
        f"SPDX-License-Identifier: {rights.licence}",
        *(f"https://spdx.org/licenses/{name}.html" for name in rights.licences if name in rights.licence),
        "",
        "generate_properties.py comes with salver and may be used, changed and passed on freely (0BSD).",
    ]
    return "\n".join(lines)


def citation(rights: Rights, title: str, name: str, note: str) -> str:
    """How to cite the set: in its authors' words, or as BibTeX."""
    stated = rights.publication
    if stated.citation:
        return stated.citation
    people = " and ".join(author.name for author in rights.creators)
    extra = {"year": (stated.date or "")[:4], "doi": stated.doi or "", "url": stated.url or ""}
    # Sets that say nothing of their own are cited as they always were.
    fields = {} if not stated.authors else {key: value for key, value in extra.items() if value}
    entries = {"title": title, **({"author": people} if people else {}), **fields, "note": note}
    return f"@misc{{{name}, {', '.join(f'{key}={{{value}}}' for key, value in entries.items())}}}"


def citation_cff(rights: Rights, manifest: Manifest, title: str) -> str:
    """CITATION.cff of a set whose authors are named (https://citation-file-format.github.io, 1.2.0)."""
    stated = rights.publication
    lines = [
        "cff-version: 1.2.0",
        f"message: {_quoted('If you use this set, please cite it as below.')}",
        "type: dataset",
        f"title: {_quoted(title)}",
        f"version: {_quoted(manifest.version)}",
        "authors:",
    ]
    for author in stated.authors:
        lines += [f"  {'- ' if i == 0 else '  '}{line}" for i, line in enumerate(_cff_author(author))]
    single = {"doi": stated.doi, "url": stated.url, "date-released": stated.date}
    lines += [f"{key}: {_quoted(value)}" for key, value in single.items() if value]
    # A list of licences would mean that the user may choose.
    lines += [f"license: {rights.licences[0]}"] if len(rights.licences) == 1 else []
    if stated.keywords:
        lines += ["keywords:", *(f"  - {_quoted(word)}" for word in dict.fromkeys(stated.keywords))]
    return "\n".join(lines) + "\n"


def _cff_author(author: Author) -> list[str]:
    """A person by family and given names; a name of one word is that of a group."""
    family, comma, given = (part.strip() for part in author.name.partition(","))
    if not comma:
        given, _, family = author.name.rpartition(" ")
    if not (given and family):
        found = [f"name: {_quoted(author.name)}"]
    else:
        found = [f"family-names: {_quoted(family)}", f"given-names: {_quoted(given)}"]
        found += [f"affiliation: {_quoted(author.affiliation)}"] if author.affiliation else []
    return [*found, *([f"orcid: {_quoted('https://orcid.org/' + author.orcid)}"] if author.orcid else [])]


def _quoted(text: str) -> str:
    """A string of JSON, which YAML reads as the same one."""
    return json.dumps(text, ensure_ascii=False)
