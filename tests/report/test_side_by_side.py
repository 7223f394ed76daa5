"""Point and counterexample side by side, as panels and as one drawing."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from salver.report.side_by_side import Side, SideBySide, drawing, panels

TABLE = [("inputs", "svg"), ("maps", "svg"), ("change", "svg"), ("map-change", "svg")]
IMAGE = [(part, "png") for part in ("x", "x-map", "witness", "witness-map", "change", "map-change")]


def scene(shape: tuple[int, ...], *, other: bool = True, mapped: bool = True) -> SideBySide:
    rng = np.random.default_rng(0)
    size = int(np.prod(shape))
    sides = [
        Side(name, "class 1", rng.uniform(size=size), rng.normal(size=size if mapped else 0), (0,))
        for name in ("point", "counterexample")
    ]
    map_shape = shape if mapped else (0,)
    return SideBySide(tuple(sides[: 1 + other]), shape, map_shape, (0.0, 1.0), 0.1)


@pytest.mark.parametrize(("shape", "parts"), [((6,), TABLE), ((1, 4, 4), IMAGE), ((3, 4, 4), IMAGE)])
def test_both_inputs_both_maps_and_what_changed(shape: tuple[int, ...], parts: list[tuple[str, str]]) -> None:
    found = panels(scene(shape))
    assert [(one.part, one.format) for one in found] == parts
    alone = panels(scene(shape, other=False))
    assert [one.part for one in alone] == [part for part, _ in parts][:2]


@pytest.mark.parametrize("shape", [(6,), (1, 4, 4)])
def test_without_a_map_only_the_inputs_are_drawn(shape: tuple[int, ...]) -> None:
    assert all("map" not in one.part for one in panels(scene(shape, mapped=False)))


def test_a_drawing_holds_every_panel_inside_its_size() -> None:
    shown = [(one, f"data:{number}") for number, one in enumerate(panels(scene((6,))))]
    text = drawing("Not <robust>: " + 40 * "long words ", shown)
    root = ET.fromstring(text)
    width, height = (float(root.attrib[side]) for side in ("width", "height"))
    images = [e for e in root if e.tag.endswith("image")]
    assert len(images) == 4
    boxes = [[float(e.attrib[k]) for k in ("x", "y", "width", "height")] for e in images]
    for number, (x, y, w, h) in enumerate(boxes):
        assert x + w <= width
        assert y + h <= height
        for a, b, c, d in boxes[:number]:
            assert a + c <= x or x + w <= a or b + d <= y or y + h <= b
    assert re.search("Not &lt;robust&gt;", text)
