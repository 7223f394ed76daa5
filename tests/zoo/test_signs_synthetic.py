"""Signs drawn from icons: what is drawn, that it never changes, and what is said when icons are missing."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salver.core.errors import SalverError
from salver.zoo import datasets
from salver.zoo.datasets import catalogue, signs_synthetic, sources

DIGESTS = {
    "signs-synthetic": "3314cba8e4e18e09f33f4ae478b5a2ceabf3d7fbe7563ab5007dbd806a46c22a",
    "signs-synthetic-24": "e9c4528d4541d76b732cdac718aa986eabfe3f80105023b24f300caf7b9228e6",
}
"""Of the published icons, where they have been fetched."""


@pytest.fixture
def icons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sheet of 43 icons of one colour each, in the place and with the pins of the published one."""
    folder = tmp_path / "cache" / "signs-synthetic"
    folder.mkdir(parents=True)
    sheet = np.zeros((20, 43 * 20, 4), np.uint8)
    places = {}
    for number, sprite in enumerate(signs_synthetic.SPRITES):
        sheet[2:18, 20 * number + 2 : 20 * number + 18] = (5 * number, 0, 255 - 5 * number, 255)
        places[sprite] = {"x": 20 * number, "y": 0, "width": 20, "height": 20, "pixelRatio": 2}
    png = io.BytesIO()
    Image.fromarray(sheet).save(png, "PNG")
    files = {"sprites@2x.png": png.getvalue(), "sprites@2x.json": json.dumps(places).encode()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
        monkeypatch.setitem(signs_synthetic.SHA256, name, hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(signs_synthetic, "TRAIN_PER_CLASS", 3)
    monkeypatch.setattr(signs_synthetic, "TEST_PER_CLASS", 2)
    monkeypatch.setenv("SALVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SALVER_DATA", raising=False)
    return folder


@pytest.mark.slow
def test_every_class_shows_its_own_icon_in_the_same_bytes_each_time(icons: Path) -> None:
    data = signs_synthetic.signs_synthetic(icons)
    assert data.train_x.shape == (129, 6912)
    assert data.test_x.shape == (86, 6912)
    assert data.input_shape == (3, 48, 48)
    assert len(set(data.classes)) == 43
    assert (data.train_x >= 0).all()
    assert (data.train_x <= 1).all()
    assert np.bincount(data.train_y).tolist() == [3] * 43
    images = data.train_x.reshape(-1, 3, 48, 48)
    red, blue = images[:, 0, 20:28, 20:28].mean(axis=(1, 2)), images[:, 2, 20:28, 20:28].mean(axis=(1, 2))
    assert (red[data.train_y <= 15] < blue[data.train_y <= 15]).all()
    assert (red[data.train_y >= 36] > blue[data.train_y >= 36]).all()
    assert len({image.tobytes() for image in images}) == len(images)
    assert signs_synthetic.signs_synthetic(icons).sha256 == data.sha256


@pytest.mark.slow
def test_the_small_images_are_block_means_of_the_large_ones(icons: Path) -> None:
    large, small = signs_synthetic.signs_synthetic(icons), signs_synthetic.signs_synthetic_24(icons)
    blocks = large.train_x.reshape(-1, 3, 24, 2, 24, 2).mean(axis=(3, 5)).reshape(len(small.train_x), -1)
    assert small.input_shape == (3, 24, 24)
    assert (np.abs(blocks - small.train_x) <= 1 / 255).all()
    np.testing.assert_array_equal(large.train_y, small.train_y)


def test_other_icons_are_refused(icons: Path) -> None:
    (icons / "sprites@2x.json").write_bytes(b"{}")
    with pytest.raises(SalverError, match="not the published file"):
        signs_synthetic.signs_synthetic(icons)


@pytest.mark.parametrize("name", list(DIGESTS))
def test_missing_icons_are_one_line_with_the_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SALVER_DATA", raising=False)
    with pytest.raises(SalverError, match=f"salver data fetch {name}") as caught:
        datasets.load(name)
    assert "\n" not in str(caught.value)
    with pytest.raises(SalverError, match="salver data fetch signs-synthetic"):
        signs_synthetic.signs_synthetic(tmp_path)


@pytest.mark.slow
def test_both_sizes_are_fetched_into_one_folder(icons: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path.name: path.read_bytes() for path in icons.iterdir()}
    for path in icons.iterdir():
        path.unlink()
    calls = []

    def client(command: list[str], folder: Path) -> None:
        calls.append(command[-1])
        with tarfile.open(folder / "p.tgz", "w:gz") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(f"package/sprites/{name}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))

    monkeypatch.setattr(sources, "run_client", client)
    monkeypatch.setattr(sources, "npm_command", lambda: ["npm"])
    assert datasets.fetch("signs-synthetic-24") == icons
    assert datasets.fetch("signs-synthetic") == icons
    assert calls == ["mapillary_sprite_source@1.8.0"]


def test_the_published_icons_give_the_pinned_set() -> None:
    if catalogue.find("signs-synthetic-24", None)[0] is None:
        pytest.skip("not fetched: salver data fetch signs-synthetic")
    assert datasets.load("signs-synthetic-24").sha256 == DIGESTS["signs-synthetic-24"]
