"""The data card of a published set: what a receiver wants to know before using it, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from salver.core.errors import counted
from salver.families.instance import DataCard, Manifest
from salver.publish.census import MOST_SECONDS, Census, CensusGroup
from salver.publish.rights import OWN_LICENCE, Rights, citation

Row = Sequence[object]
MOST_NAMES = 30
"""Most names of classes or features that are listed."""


def data_card(manifest: Manifest, census: Census, name: str, rights: Rights) -> str:
    """The card as the set's README.md.

    Args:
        name: of the published set, which its archive has too.
    """
    parts = [
        f"# {rights.publication.title or manifest.title}",
        manifest.description,
        _authors(rights),
        _meaning(manifest),
        "## Use\n\n" + _use(name, manifest.seed, census),
        "## Instances\n\n" + _instances(census),
        "## Known answers\n\n" + _answers(manifest, census),
        "## Networks\n\n" + _networks(census),
        "## Data\n\n" + _data(manifest, census, rights),
        "## How far from trivial\n\n" + _vacuity(manifest, census),
        "## Limits\n\n" + _limits(census, rights),
        "## Licence\n\n" + _licence(rights),
        _cite(manifest, name, rights),
        "## Made with\n\n" + _made_with(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _authors(rights: Rights) -> str:
    people = []
    for author in rights.publication.authors:
        orcid = f" ([{author.orcid}](https://orcid.org/{author.orcid}))" if author.orcid else ""
        people.append(
            _plain(author.name) + orcid + (f", {_plain(author.affiliation)}" if author.affiliation else "")
        )
    return f"By {'; '.join(people)}." if people else ""


def _cite(manifest: Manifest, name: str, rights: Rights) -> str:
    if not rights.publication.authors and not rights.publication.citation:
        return ""
    title = rights.publication.title or manifest.title
    text = citation(rights, title, name, f"salver {manifest.salver}, seed {manifest.seed}")
    return "## Cite\n\n" + "\n".join(f"    {line}" for line in text.splitlines())


def _meaning(manifest: Manifest) -> str:
    return (
        f"{_queries(manifest)} about explanations of neural networks, in VNN-COMP's layout. "
        "Each asks for a violation: **sat** means that the explanation is not robust (falsified), "
        "**unsat** that it is (verified). A query's network computes logits and saliency map of a "
        "classifier at once: `Y = [logits, map]`."
    )


def _queries(manifest: Manifest) -> str:
    number = len(manifest.instances)
    return f"{number} queries" if number != 1 else "1 query"


def _use(name: str, seed: int, census: Census) -> str:
    return f"""    # coreutils alone: nothing was changed on the way
    sha256sum -c SHA256SUMS
    # Python's standard library alone: draws {counted(census.drawn, "instance")}
    python3 generate_properties.py SEED
    # with salver: checksums, and every instance validated again
    salver verify-set {name}

| file | what |
|---|---|
| `instances.csv` | network, property, seconds: what seed {seed} draws; no header; files are named unzipped |
| `onnx/`, `vnnlib/`, `vnnlib2/` | query networks, properties in VNN-LIB 1.0 and in 2.0, all instances, gzip |
| `networks/` | the classifiers that are explained |
| `generate_properties.py` | writes `instances.csv`, plain `onnx/` and `vnnlib/`, and `1.0/`, `2.0/` |
| `manifest.json` | every fact about every instance |
| `croissant.json` | the set as machine-readable metadata (Croissant 1.0) |"""


def _instances(census: Census) -> str:
    header = ("family", "network", "instances", "drawn", "sat", "unsat", "unknown", "timeout (s)")
    rows = [
        (g.family, _networks_of(g), g.instances, g.drawn, g.sat, g.unsat, g.unknown, g.timeouts)
        for g in census.groups
    ]
    hours = f"{census.most_seconds / 3600:.2f} h of the {MOST_SECONDS // 3600} h that VNN-COMP allows"
    return f"{_table(header, rows)}\n\nThe timeouts of a draw sum up to at most {hours}."


def _networks_of(group: CensusGroup) -> str:
    return group.network if group.networks == 1 else f"{group.networks} networks with one or two each"


def _answers(manifest: Manifest, census: Census) -> str:
    said = {
        "enumerated": "every activation region was visited",
        "planted": "the network was built so that the answer is known",
        "proved": "a point found by sampling satisfies the query in single and in double precision",
        "unknown": "not known",
    }
    rows = [(kind, number, said[kind]) for kind, number in census.evidence.items()]
    text = _table(("evidence", "instances", "meaning"), rows)
    known = sum(number for kind, number in census.evidence.items() if kind != "unknown")
    return f"{known} of {len(manifest.instances)} answers are known.\n\n{text}"


def _networks(census: Census) -> str:
    rows = [(n.name, n.inputs, n.classes, f"{n.parameters:,}") for n in census.networks]
    inputs, outputs = census.largest_query
    return (
        f"{_table(('classifier', 'inputs', 'classes', 'parameters'), rows)}\n\n"
        f"{census.query_networks} query networks, opset 13, float32, one input `X [1, n]` and one output "
        f"`Y [1, m]`; the largest has n = {inputs}, m = {outputs}. Operators: {', '.join(census.operators)}."
    )


def _data(manifest: Manifest, census: Census, rights: Rights) -> str:
    rows = []
    for dataset, points in census.points.items():
        origin = rights.origin(dataset)
        title = f"[{origin.title}]({origin.url})" if origin.url else origin.title
        rows.append((dataset, title, origin.source, origin.licence_text, points))
    table = _table(("data set", "title", "source", "licence", "test points used"), rows)
    names = [_names(card) for card in manifest.data if card.classes or card.features]
    return "\n\n".join([table, "\n".join(names)]) if names else table


def _names(card: DataCard) -> str:
    """Classes and features of data of one's own, in the order of the network's outputs and inputs."""
    kinds = {"classes": card.classes, "features": card.features}
    said = [f"{len(names)} {kind}: {_plain(_some(names))}" for kind, names in kinds.items() if names]
    return f"- {_plain(card.name)}: {'; '.join(said)}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _vacuity(manifest: Manifest, census: Census) -> str:
    total = len(manifest.instances)
    lines = [
        f"For {census.bounded} of {total} instances sampling found how near the nearest violation is at most "
        f"({census.samples:,} points looked at); the manifest has these bounds. Something nearer may exist."
    ]
    if census.middle_share is not None:
        low, high = census.delta_shares[0], census.delta_shares[-1]
        lines.append(
            f"The tolerance on the map over its largest entry at xhat is {low:.3g} to {high:.3g}, median "
            f"{census.middle_share:.3g}, over {len(census.delta_shares)} instances; one of 2 or more lets "
            "any map of that size pass."
        )
    return " ".join(lines)


def _limits(census: Census, rights: Rights) -> str:
    made = "" if rights.foreign else "The networks are small and made for this purpose: "
    told = "results say how solvers compare, not how safe a deployed model is."
    ties = "; ".join(census.tie_rules)
    return (
        f"The derivative of ReLU at 0 is 0, as in PyTorch. Ties: {ties}. Boxes are rounded outwards to "
        "binary32. A seed draws from the published instances and makes no new ones. "
        f"{made}{told if made else told.capitalize()}"
    )


def _licence(rights: Rights) -> str:
    data = "the data belongs to its owners: see the table above and `LICENSE`."
    if not rights.foreign:
        return f"{OWN_LICENCE} for networks, properties and scripts; {data}"
    own = f"; {OWN_LICENCE} for the networks {', '.join(rights.own)}" if rights.own else ""
    return f"{rights.licence} for the networks {', '.join(rights.foreign)} and the instances{own}; {data}"


def _made_with(manifest: Manifest) -> str:
    return (
        f"salver {manifest.salver}, suite `{manifest.suite}` version {manifest.version}, seed "
        f"{manifest.seed} (recipe {manifest.recipe}). The same suite, seed and salver give the same set."
    )


def _table(header: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text of somebody else's in Markdown, where none of it is a mark."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
