"""A point with its map beside a counterexample with its own, and the differences of both, as pictures."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt
from PIL import Image

from salver.report.axes import channels_first, entry_name, pixel
from salver.report.pictures import bars_svg, flattened, image_png, map_png
from salver.zoo.datasets import Clip

Array = npt.NDArray[np.float64]
MOST_BARS = 20
MOST_WIDTH, GAP, LINE, CAPTION = 1280, 14, 18, 30
"""Of a drawing, in pixels: width, room between panels, a line of text, a caption with the room below."""


@dataclass(frozen=True, eq=False)
class Side:
    """An input as it is drawn.

    Attributes:
        name: such as `xhat`. label: of its class.
        x: values [n]. map: of its explanation [s]; empty for none.
        top: entries of the map to frame.
    """

    name: str
    label: str
    x: Array
    map: Array
    top: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class SideBySide:
    """What is drawn side by side.

    Attributes:
        sides: the explained input, and a counterexample where there is one.
        input_shape, map_shape: three sides, or the two of a map, of an image; (n,) of a table.
        clip: values of black and of white; None for the least and the largest that is drawn.
        epsilon: change at which colours are full.
        features: names of a table's entries, where each has one.
    """

    sides: tuple[Side, ...]
    input_shape: tuple[int, ...]
    map_shape: tuple[int, ...]
    clip: Clip | None
    epsilon: float
    features: tuple[str, ...] = ()

    @property
    def range(self) -> Clip:
        """Values of black and of white."""
        values = np.concatenate([side.x for side in self.sides])
        return self.clip or (float(values.min()), float(values.max()))


@dataclass(frozen=True)
class Panel:
    """One picture: which part of the scene it shows, a caption, its format (png or svg) and content."""

    part: str
    caption: str
    format: str
    data: bytes


def panels(scene: SideBySide) -> list[Panel]:
    """The pictures of a scene in the order in which they are shown."""
    return _images(scene) if len(scene.input_shape) == 3 else _bars(scene)


def _images(scene: SideBySide) -> list[Panel]:
    shape, sides = scene.map_shape, scene.sides
    mapped = len(shape) > 1 and sides[0].map.size > 0
    limit = max(float(np.abs(flattened(side.map, shape)).max()) for side in sides) if mapped else 0.0
    found = []
    for part, side in zip(("x", "witness"), sides, strict=False):
        image = image_png(side.x, scene.input_shape, scene.range)
        found.append(Panel(part, f"{side.name}: {side.label}", "png", image))
        if mapped:
            drawn = map_png(side.map, shape, limit, _pixels(side.top, shape))
            found.append(Panel(f"{part}-map", "its map", "png", drawn))
    if len(sides) > 1:
        point, other = sides
        drawn = map_png(other.x - point.x, scene.input_shape, scene.epsilon)
        found.append(Panel("change", f"{other.name} - {point.name}", "png", drawn))
        if mapped:
            moved = other.map - point.map
            found.append(Panel("map-change", "difference of the maps", "png", map_png(moved, shape, limit)))
    return found


def _pixels(entries: Sequence[int], shape: tuple[int, ...]) -> list[int]:
    """The pixels [height, width] of entries of a map, of whichever channel they are, by index."""
    if not entries:
        return []
    height, width = channels_first(np.empty(int(np.prod(shape))), shape).shape[1:]
    return sorted({int(np.ravel_multi_index(pixel(entry, shape), (height, width))) for entry in entries})


def _bars(scene: SideBySide) -> list[Panel]:
    """Charts of the entries with the largest saliency: inputs, maps and both differences."""
    sides = scene.sides
    one_each = all(side.map.shape == side.x.shape for side in sides)
    size = np.max([np.abs(side.map if one_each else side.x) for side in sides], axis=0)
    kept = np.sort(np.argsort(-size, kind="stable")[:MOST_BARS])
    names = [entry_name(int(i), (len(size),), scene.features) for i in kept]
    inputs = {side.name: side.x[kept] for side in sides}
    between = " and ".join(inputs)
    charts = [("inputs", between, "input", names, inputs)]
    if one_each:
        maps = {side.name: side.map[kept] for side in sides}
        whose = "their saliency maps" if len(sides) > 1 else "its map"
        charts.append(("maps", whose, "saliency", names, maps))
    if len(sides) > 1:
        apart = f"{sides[1].name} - {sides[0].name}"
        charts.append(("change", apart, "change of the input", names, _difference(apart, inputs)))
        if one_each:
            moved = _difference(apart, maps)
            charts.append(("map-change", "difference of the maps", "change of the saliency", names, moved))
    return [
        Panel(part, caption, "svg", bars_svg(entries, series, title).encode())
        for part, caption, title, entries, series in charts
    ]


def _difference(name: str, series: Mapping[str, Array]) -> dict[str, Array]:
    first, second = series.values()
    return {name: second - first}


def drawing(heading: str, shown: Sequence[tuple[Panel, str]]) -> str:
    """Panels with captions below a heading, as one SVG.

    Args:
        shown: panels with the addresses of their pictures.
    """
    places, right, top, height = [], 0, 0, 0
    for panel, source in shown:
        width, tall = _size(panel)
        if right and right + width > MOST_WIDTH:
            right, top, height = 0, top + height + CAPTION, 0
        places.append((right, top, width, tall, escape(source), escape(panel.caption)))
        right, height = right + width + GAP, max(height, tall)
    lines = textwrap.wrap(heading, MOST_WIDTH // 8)
    offset = LINE * len(lines) + GAP
    parts = [
        f'<text x="0" y="{LINE * n}" font-weight="bold">{escape(t)}</text>' for n, t in enumerate(lines, 1)
    ]
    for x, y, width, tall, source, caption in places:
        box = f'x="{x}" y="{y + offset}" width="{width}" height="{tall}"'
        parts.append(f'<image {box} href="{source}"/>')
        parts.append(f'<text x="{x}" y="{y + offset + tall + LINE}">{caption}</text>')
    width = max([8 * len(lines[0]), *(x + w for x, _, w, *_ in places)])
    size = f'width="{width}" height="{offset + top + height + CAPTION}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    return f'{head}<rect {size} fill="white"/>{"".join(parts)}</svg>\n'


def _size(panel: Panel) -> tuple[int, int]:
    """Width and height of a picture in pixels."""
    if panel.format == "png":
        with Image.open(io.BytesIO(panel.data)) as image:
            return image.size
    found = re.search(rb'<svg[^>]*? width="(\d+)[^"]*"[^>]*? height="(\d+)', panel.data)
    assert found is not None, "Vega gives its drawings a size"
    return int(found[1]), int(found[2])
