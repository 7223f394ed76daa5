"""Pictures of witnesses, and the gallery's two indexes."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from salver.core.errors import SalverError
from salver.families.instance import Instance
from salver.families.questions import TopKChanges
from salver.judge.views import WitnessView
from salver.report.axes import pixel
from salver.report.gallery import GalleryItem, Picture, html, markdown, ranks_moved, write_gallery
from salver.report.pictures import bars_svg, flattened, image_png, map_png, shown_range
from tests.builders.judged_runs import loaded
from tests.builders.views import facts_of, judged_of


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.int64)


GREYS = arrays(np.float64, (1, 4, 6), elements=st.integers(0, 255).map(lambda v: v / 255))


@pytest.mark.slow
@given(GREYS)
def test_an_image_shows_its_values(image):
    drawn = pixels(image_png(image.ravel(), image.shape, (0.0, 1.0)))
    assert drawn.shape == (96, 144, 3)
    assert np.array_equal(drawn[12::24, 12::24, 0], np.rint(255 * image[0]))


@given(arrays(np.float64, (3, 2, 2), elements=st.sampled_from([0.0, 0.5, 1.0])))
def test_a_coloured_image_keeps_its_colours(image):
    drawn = pixels(image_png(2 * image.ravel() - 1, image.shape, (-1.0, 1.0)))[35::70, 35::70]
    assert np.array_equal(drawn, np.moveaxis(np.rint(255 * image), 0, 2))


@given(arrays(np.float64, (3, 4), elements=st.floats(-2, 2)))
def test_a_map_is_white_at_zero_and_its_colour_grows_with_size(values):
    drawn = pixels(map_png(values.ravel(), (3, 4), 2.0))[17::35, 17::35]
    red, blue = drawn[..., 0], drawn[..., 2]
    assert (drawn[values == 0] == 255).all()
    assert (red[values > 0.05] > blue[values > 0.05]).all()
    assert (blue[values < -0.05] > red[values < -0.05]).all()
    order = np.argsort(values[values > 0])
    assert (np.diff(blue[values > 0][order]) <= 0).all()


def test_a_frame_marks_its_pixel_alone():
    plain, framed = (pixels(map_png(np.zeros(6), (2, 3), 1.0, marked)) for marked in ((), (4,)))
    changed = (plain != framed).any(axis=2)
    rows, columns = np.nonzero(changed)
    side = plain.shape[1] // 3
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (side, 2 * side - 1, side, 2 * side - 1)
    assert not changed[side + side // 2, side + side // 2]


@given(arrays(np.float64, (3, 2, 2), elements=st.floats(-1, 1)))
def test_of_several_channels_the_largest_entry_is_shown(values):
    shown = flattened(values.ravel(), (3, 2, 2))
    assert np.array_equal(np.abs(shown), np.abs(values).max(axis=0))
    assert all(shown[i, j] in values[:, i, j] for i in range(2) for j in range(2))


def test_bars_name_their_entries_and_escape_them():
    svg = bars_svg(["age", "<b>"], {"xhat": np.array([1.0, 2.0]), "witness": np.array([0.5, -1.0])}, "input")
    assert svg.startswith("<svg")
    assert "age" in svg
    assert "<b>" not in svg


def view(**changes) -> WitnessView:
    facts = facts_of(0, "n", question=TopKChanges(k=2))
    instance = Instance(
        id="i", suite="s", name="i", onnx="o", vnnlib="v", vnnlib2="w", network="n", timeout=1, operators=(),
        facts=facts,
    )  # fmt: skip
    values = {
        "instance": instance, "solver": "s", "x": np.zeros(4), "witness": np.ones(4), "x_from": "data",
        "x_map": np.array([4.0, 3.0, 2.0, 1.0]), "witness_map": np.array([4.0, 1.0, 3.0, 1.0]),
        "input_shape": (1, 2, 2), "map_shape": (1, 2, 2), "x_class": "a", "witness_class": "b",
        "features": (), "clip": (0.0, 1.0), **changes,
    }  # fmt: skip
    return WitnessView(**values)


def test_what_left_the_top_set_and_what_came_in():
    assert ranks_moved(view()) == ([1], [2])
    assert ranks_moved(view(witness_map=view().x_map)) == ([], [])
    without = view().instance.model_copy(update={"facts": facts_of(0, "n")})
    assert ranks_moved(view(instance=without)) is None


def written_gallery(folder: Path, shown: WitnessView | None, monkeypatch) -> tuple[Path, int]:
    """The gallery of one falsified instance; its view needs no set on disk."""
    monkeypatch.setattr("salver.report.gallery.stored_view", lambda run, record: shown)
    return write_gallery(loaded(folder, [judged_of("i", "s")], {"i": view().instance}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "files"),
    [
        ({}, {"x.png", "x-map.png", "witness.png", "witness-map.png", "change.png", "map-change.png"}),
        (
            {"input_shape": (4,), "map_shape": (4,)},
            {"inputs.svg", "maps.svg", "change.svg", "map-change.svg"},
        ),
    ],
    ids=["image", "table"],
)
def test_both_indexes_show_every_picture_that_is_there(tmp_path: Path, changes, files, monkeypatch):
    shown = view(**changes)
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "old.png").write_text("of an earlier gallery")
    page, count = written_gallery(tmp_path, shown, monkeypatch)
    there = {p.name for p in page.parent.iterdir()}
    assert count == 1
    assert there == {f"i-{name}" for name in files} | {"index.html", "index.md"}
    text = (page.parent / "index.md").read_text()
    assert {f"i-{name}" for name in files} == set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", text))
    assert "out of the top 2" in text
    assert set(_pictures(page.read_text())) == {f"./i-{name}" for name in files}


def test_no_witness_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(SalverError, match="no instance with a saliency map was falsified"):
        written_gallery(tmp_path, None, monkeypatch)
    assert not (tmp_path / "gallery").exists()


def _pictures(page: str) -> list[str]:
    found = []

    class Images(HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert tag != "script"
            if tag == "img":
                found.append(dict(attributes)["src"])
            assert not any(key.startswith("on") for key, _ in attributes)

    Images().feed(page)
    return found


HOSTILE = '<script>alert(1)</script> | `x` [a](b) "q" #1 \n ../up'


def test_hostile_names_stay_text():
    picture = Picture(f"{HOSTILE}.png", HOSTILE)
    exhibit = GalleryItem(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, (HOSTILE,), (picture,))
    groups = [(HOSTILE, HOSTILE, [exhibit])]
    page = html(HOSTILE, groups)
    (source,) = _pictures(page)
    assert source.startswith("./")
    assert unquote(source) == f"./{HOSTILE}.png"
    text = markdown(HOSTILE, groups)
    assert "<script" not in re.sub(r"\\<", "", text)
    assert not re.search(r"(?<![\\!])\[a", text)


def test_every_channel_of_an_image_is_shown_on_its_own_range():
    x = np.array([0.0, -1.0, 30.0])
    png = image_png(x, (3, 1, 1), ((0.0, 1.0), (-1.0, 1.0), (10.0, 30.0)))
    assert Image.open(io.BytesIO(png)).convert("RGB").getpixel((0, 0)) == (0, 0, 255)
    each = tuple((0.0, end) for end in (1.0, 2.0, 4.0, 8.0))
    assert shown_range(each, (1, 2, 2)) == (0.0, 8.0)


def test_an_image_with_its_channels_last_is_drawn_like_its_twin():
    first = np.random.default_rng(0).uniform(size=(3, 4, 5))
    last = np.moveaxis(first, 0, 2)
    assert image_png(last.ravel(), last.shape, (0.0, 1.0)) == image_png(
        first.ravel(), first.shape, (0.0, 1.0)
    )
    assert np.array_equal(flattened(last.ravel(), last.shape), flattened(first.ravel(), first.shape))
    assert [pixel(17, shape) for shape in ((4, 5), (1, 4, 5), (4, 5, 1))] == [(3, 2)] * 3
    assert pixel(17, (4, 5, 3)) == (1, 0)
