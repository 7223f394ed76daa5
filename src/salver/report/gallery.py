"""A gallery of falsified instances: what a saliency map looks like before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from salver.core.confined import clear, write_inside
from salver.core.errors import SalverError
from salver.judge.judged import Judged
from salver.judge.views import WitnessView, chosen_witnesses, stored_view
from salver.report.axes import entry_name
from salver.report.side_by_side import Side, SideBySide, panels
from salver.report.templating import environment
from salver.report.words import asked
from salver.run.loaded import LoadedRun

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Picture:
    """One file of the gallery: its name, and what is on it."""

    file: str
    caption: str


@dataclass(frozen=True)
class GalleryItem:
    """One falsified instance: what was asked, what the witness does, and its pictures."""

    family: str
    network: str
    dataset: str
    title: str
    asked: str
    meaning: str
    facts: tuple[str, ...]
    pictures: tuple[Picture, ...]


def write_gallery(judged: Judged[LoadedRun], per_group: int = 3) -> tuple[Path, int]:
    """Writes `gallery/` into a run's folder: pictures, `index.html` and `index.md`, in place of an older one.

    Args:
        per_group: how many instances of each family and network at most.

    Returns:
        Path of `index.html`, and the number of instances shown.

    Raises:
        SalverError: no falsified instance with a map and a correct witness; a file cannot be written.
    """
    exhibits: list[GalleryItem] = []
    files: dict[str, bytes] = {}
    run, run_dir, title = judged.run, judged.run.folder, judged.run.manifest.suite
    for one in chosen_witnesses(judged.rows, run.instances.by_id, per_group):
        view = stored_view(run, one.run)
        if view is None:
            continue
        drawn = _pictures(view)
        files |= {picture.file: data for picture, data in drawn}
        exhibits.append(_exhibit(view, tuple(picture for picture, _ in drawn)))
    if not exhibits:
        what = "no instance with a saliency map was falsified by a correct witness"
        raise SalverError(what, str(run_dir), "run a solver that finds witnesses, such as falsify")
    groups = _grouped(exhibits)
    files |= {"index.md": markdown(title, groups).encode(), "index.html": html(title, groups).encode()}
    folder = run_dir / "gallery"
    clear(folder)
    for name, data in files.items():
        write_inside(run_dir, f"gallery/{name}", data)
    return folder / "index.html", len(exhibits)


Groups = list[tuple[str, str, list[GalleryItem]]]


def _grouped(exhibits: list[GalleryItem]) -> Groups:
    """Heading, meaning and exhibits of each family and network, in the order of the suite."""
    groups: dict[str, list[GalleryItem]] = {}
    for exhibit in exhibits:
        heading = f"{exhibit.family}: {exhibit.network} on {exhibit.dataset}"
        groups.setdefault(heading, []).append(exhibit)
    return [(heading, own[0].meaning, own) for heading, own in groups.items()]


def _exhibit(view: WitnessView, pictures: tuple[Picture, ...]) -> GalleryItem:
    facts = view.instance.known
    changed = "largest change of an input entry" if facts.norm == "linf" else "distance of the inputs"
    said = [
        f"class {view.x_class} at xhat, {view.witness_class} at the witness",
        f"{changed} {view.input_distance:.4g} (allowed {facts.epsilon:g})",
        f"largest change of an entry of the map {view.map_distance:.4g}, "
        f"largest entry at xhat {float(np.abs(view.x_map).max()):.4g}",
    ]
    if moved := ranks_moved(view):
        left, entered = moved
        k = facts.question.ranked
        said.append(f"out of the top {k}: {_named(view, left)}; into it: {_named(view, entered)}")
    said.append(f"found by {view.solver}")
    if view.x_from == "box":
        said.append("xhat is read off the box, since its data set is not on this machine")
    return GalleryItem(
        facts.family,
        facts.network,
        facts.dataset,
        view.instance.name,
        asked(facts),
        facts.question.meaning,
        tuple(said),
        pictures,
    )


def top_sets(view: WitnessView) -> tuple[list[int], list[int]]:
    """The top-k sets at xhat and at the witness, where the question ranks; else empty."""
    question = view.instance.known.question
    return list(question.top(view.x_map)), list(question.top(view.witness_map))


def ranks_moved(view: WitnessView) -> tuple[list[int], list[int]] | None:
    """Entries that left the top-k set and entries that came in; None where the question does not rank."""
    first, second = top_sets(view)
    if not first:
        return None
    return sorted(set(first) - set(second)), sorted(set(second) - set(first))


def _named(view: WitnessView, entries: Sequence[int]) -> str:
    names = [entry_name(entry, view.map_shape, view.features) for entry in entries]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "none"


def _pictures(view: WitnessView) -> list[tuple[Picture, bytes]]:
    first, second = top_sets(view)
    sides = (
        Side("xhat", view.x_class, view.x, view.x_map, tuple(first)),
        Side("witness", view.witness_class, view.witness, view.witness_map, tuple(second)),
    )
    shapes, epsilon = (view.input_shape, view.map_shape), view.instance.known.epsilon
    scene = SideBySide(sides, *shapes, view.clip, epsilon, view.features)
    name = view.instance.name
    return [(Picture(f"{name}-{one.part}.{one.format}", one.caption), one.data) for one in panels(scene)]


LEGEND = (
    "Maps and differences are blue below zero, white at zero and red above. The two maps of an instance and "
    "their difference share one scale; the difference of the inputs is drawn on the scale of epsilon. "
    "Frames mark the top-k set where the query is about ranks. Of a coloured image a map shows, per pixel, "
    "the entry of largest size over the channels; of a table the charts show the 20 entries with the largest "
    "saliency. Every witness was replayed in ONNX Runtime."
)


def markdown(title: str, groups: Groups) -> str:
    """`index.md`."""
    lines = [f"# Falsified explanations: {_plain(title)}", "", LEGEND, ""]
    for heading, shown, exhibits in groups:
        lines += [f"## {_plain(heading)}", "", _plain(shown), ""]
        for exhibit in exhibits:
            lines += [f"### {_plain(exhibit.title)}", "", _plain(exhibit.asked), ""]
            lines += [f"- {_plain(fact)}" for fact in exhibit.facts]
            lines += ["", "| " + " | ".join(_plain(p.caption) for p in exhibit.pictures) + " |"]
            lines.append("|" + " --- |" * len(exhibit.pictures))
            cells = (f"![{_plain(p.caption)}]({quote(p.file)})" for p in exhibit.pictures)
            lines += ["| " + " | ".join(cells) + " |", ""]
    return "\n".join(lines).rstrip() + "\n"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    for mark in "\\`*_|[]<>#":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def html(title: str, groups: Groups) -> str:
    """`index.html`; it loads nothing but the pictures beside it."""
    filling = environment()
    filling.filters["href"] = lambda file: f"./{quote(file)}"
    style = (resources("salver.report.page") / "assets" / "page.css").read_text()
    page = filling.get_template("gallery.html.j2").render(
        title=title, groups=groups, legend=LEGEND, style=style
    )
    return page.rstrip() + "\n"
