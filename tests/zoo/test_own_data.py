"""Data of one's own: what is read out of files, and what is refused in one clear line."""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from salver.core.errors import SalverError
from salver.core.records import parse_record
from salver.zoo.datasets import DataOptions, DataSource, load, open_dataset, open_point
from tests.builders.own_data import arrays, images, table


def test_arrays_become_a_data_set(tmp_path: Path) -> None:
    path = arrays(
        tmp_path / "wine.npz",
        x_train=np.ones((2, 3)), y_train=np.array([1, 1]), class_names=np.array(["red", "white"]),
        feature_names=np.array(["acid", "sugar", "salt"]), lower=np.array([-1, -1, -2.5]), upper=2.1,
    )  # fmt: skip
    found = open_dataset(path)
    assert found.name == "wine.npz"
    assert found.test_x.dtype == found.train_x.dtype == np.float32
    assert np.array_equal(found.test_x, np.linspace(-1, 2, 18).reshape(6, 3).astype(np.float32))
    assert found.test_y.tolist() == [0, 1, 0, 1, 0, 1]
    assert found.train_y.tolist() == [1, 1]
    assert found.classes == ("red", "white")
    assert found.features == ("acid", "sugar", "salt")
    assert found.input_shape == (3,)
    low, high = found.bounds
    assert low.tolist() == [-1, -1, -2.5]
    # The range that was stated lies inside: a point on its edge is valid.
    assert (high.astype(np.float32) == high).all()
    assert (high >= 2.1).all()
    assert np.allclose(high, 2.1)


def test_test_and_train_arrays_may_be_named_so_and_images_keep_their_shape(tmp_path: Path) -> None:
    x = np.arange(48).reshape(2, 2, 4, 3).astype(np.uint8)
    path = arrays(tmp_path / "a.npz", x=None, y=None, x_test=x, y_test=np.array([[3], [0]]))
    first = open_dataset(path)
    assert (first.input_shape, first.clip) == ((2, 4, 3), (0.0, 255.0))
    assert len(first.train_x) == 0
    assert first.test_y.tolist() == [3, 0]
    last = open_dataset(path, DataOptions(file_layout="hwc", std=255.0))
    assert last.input_shape == (3, 2, 4)
    assert last.clip == (0.0, 1.0)
    assert np.array_equal(last.test_x[1].reshape(3, 2, 4), (x[1].transpose(2, 0, 1) / 255).astype(np.float32))


@pytest.mark.parametrize(("x", "clip"), [([[0, 1]], (0.0, 1.0)), ([[0, 1.5]], None)])
def test_without_stated_ranges_there_is_the_unit_interval_or_none(
    tmp_path: Path, x: list[list[float]], clip: object
) -> None:
    assert open_dataset(arrays(tmp_path / "a.npz", x=np.array(x), y=np.array([0]))).clip == clip


def test_a_normalisation_takes_the_ranges_along(tmp_path: Path) -> None:
    path = arrays(tmp_path / "a.npz", lower=-1.0, upper=2.0)
    found = open_dataset(path, DataOptions(mean=(0.0, 0.5, 1.0), std=(1.0, 2.0, 0.5)))
    x = np.linspace(-1, 2, 18).reshape(6, 3)
    assert np.array_equal(found.test_x, ((x - [0, 0.5, 1]) / [1, 2, 0.5]).astype(np.float32))
    assert found.clip == ((-1.0, 2.0), (-0.75, 0.75), (-4.0, 2.0))


def test_a_table_knows_its_classes_by_the_name_of_their_column(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "acid;Class;sugar", "1;red;0,5".replace(",", "."), "", "2;white;-1e-1")
    found = open_dataset(path)
    assert found.features == ("acid", "sugar")
    assert found.test_x.tolist() == [[1.0, 0.5], [2.0, np.float32(-0.1)]]
    assert found.classes == ("red", "white")
    named = open_dataset(path, DataOptions(class_names=("white", "red")))
    assert named.test_y.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("cells", "names", "labels", "classes"),
    [
        (("0", "2"), (), [0, 2], ()),
        (("1", "2"), ("1", "2"), [0, 1], ("1", "2")),
        (("0", "1"), ("no", "yes"), [0, 1], ("no", "yes")),
    ],
)
def test_numbers_of_a_table_are_positions_unless_they_are_names(
    tmp_path: Path,
    cells: tuple[str, ...],
    names: tuple[str, ...],
    labels: list[int],
    classes: tuple[str, ...],
) -> None:
    path = table(tmp_path / "a.csv", "x,quality", *(f"0.5,{cell}" for cell in cells))
    found = open_dataset(path, DataOptions(label="quality", class_names=names))
    assert (found.test_y.tolist(), found.classes) == (labels, classes)


def test_a_folder_of_images_is_read_class_by_class(tmp_path: Path) -> None:
    folder = images(tmp_path / "photos")
    found = open_dataset(f"{folder}/")
    assert found.name == "photos/"
    assert (found.classes, found.test_y.tolist()) == (("cat", "dog"), [0, 0, 1, 1])
    assert (found.input_shape, found.clip) == ((3, 4, 5), (0.0, 1.0))
    pixels = np.asarray(Image.open(folder / "dog" / "0.png"))
    assert np.array_equal(
        found.test_x[2].reshape(3, 4, 5), (pixels.transpose(2, 0, 1) / 255).astype(np.float32)
    )


def test_images_are_brought_to_a_size_a_colour_and_a_scale(tmp_path: Path) -> None:
    options = DataOptions(size=(2, 3), colour="grey", mean=0.5, std=0.25)
    found = open_dataset(images(tmp_path / "photos"), options)
    assert (found.input_shape, found.clip) == ((1, 2, 3), (-2.0, 2.0))
    colours = open_dataset(tmp_path / "photos", DataOptions(mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 2.0)))
    assert colours.clip == ((0.0, 1.0), (-1.0, 1.0), (-0.5, 0.0))


def test_the_inputs_may_have_a_capital_x(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.eye(3), y=np.arange(3))
    np.savez(tmp_path / "b.npz", X_test=np.eye(3), y_test=np.arange(3))
    assert all(
        open_dataset(tmp_path / name).test_x.tolist() == np.eye(3).tolist() for name in ("a.npz", "b.npz")
    )


def test_a_name_of_the_catalogue_goes_before_a_path() -> None:
    assert open_dataset("bandit").sha256 == load("bandit").sha256


def test_a_point_takes_ranges_and_names_of_its_data(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[0.5, 1, 0]]))
    like = open_dataset(arrays(tmp_path / "a.npz", lower=-1, upper=2, class_names=np.array(["a", "b"])))
    found = open_point(tmp_path / "x.npy", 3, like)
    assert (found.name, found.clip, found.classes) == ("x.npy", (-1.0, 2.0), ("a", "b"))
    assert found.test_x.tolist() == [[0.5, 1, 0]]
    alone = open_point(tmp_path / "x.npy", 3)
    assert (alone.input_shape, alone.clip) == ((3,), None)


def refused(path: Path, match: str, **options: Any) -> None:
    with pytest.raises(SalverError, match=match) as caught:
        open_dataset(path, DataOptions(**options))
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"y": None}, "holds no array y"),
        ({"x": None}, "holds no array x"),
        ({"y_test": np.zeros(6)}, "holds no array x_test"),
        ({"x_train": np.zeros((2, 3))}, "holds no array y_train"),
        ({"x_test": np.zeros((6, 3)), "y_test": np.zeros(6)}, "holds x and x_test"),
        ({"X": np.zeros((6, 3))}, "holds two arrays x"),
        ({"lowr": np.zeros(3)}, "array lowr, which has no meaning; did you mean lower"),
        ({"x": np.zeros(6)}, "no rows of inputs"),
        ({"x": np.zeros((0, 3)), "y": np.zeros(0)}, "holds no rows"),
        ({"x": np.zeros((5, 3))}, "5 rows and 6 labels"),
        ({"y": np.eye(6)}, "labels have shape 6 x 6"),
        ({"x": np.full((6, 3), "a")}, "not numbers"),
        ({"x": np.zeros((6, 3), complex)}, "complex numbers, not numbers"),
        ({"y": np.array([0, 1, 0, 1, 0, 0.5])}, "label 0.5 of row 5 of x is no whole number"),
        ({"y": np.array([0, 1, 0, 1, 0, -1])}, "label -1 of row 5"),
        ({"y": np.array([0, 1, np.nan, 1, 0, 1])}, "label nan of row 2"),
        ({"y": np.array([0, 1, 10**9, 1, 0, 1])}, "one of 1000000001 classes"),
        ({"y": np.zeros(6, complex)}, "neither numbers nor text"),
        ({"x": np.array([[0, 1, 2]] * 5 + [[0, np.nan, 1]])}, "row 5 of x: entry 1 is nan"),
        ({"x": np.full((6, 3), 1e300)}, "row 0 of x: entry 0 is 1e"),
        ({"x": np.full((6, 3), np.inf), "feature_names": np.array(list("abc"))}, "row 0 of x: a is inf"),
        ({"lower": -1.0}, "without upper"),
        ({"lower": 0.0, "upper": 2.0}, "row 0 of x: entry 0 is -1, outside of its range"),
        ({"lower": 3.0, "upper": 2.0}, "entry 0 has lower 3 above upper 2"),
        ({"lower": np.zeros(2), "upper": 2.0}, "lower has 2 values"),
        ({"lower": -np.inf, "upper": 2.0}, "lower holds NaN or infinity"),
        ({"feature_names": np.array(["a", "b"])}, "2 feature names for 3 features"),
        ({"feature_names": np.array(["a", "b", "a"])}, "'a' stands there twice"),
        ({"feature_names": np.array(["a", "b", "c\n"])}, "is no name"),
        ({"class_names": np.array(["a"])}, "label 1 of row 1 of x is not among 1 class names"),
        ({"class_names": np.array(["a", "b"]), "y": np.array(list("abcabc"))}, "label 'c' of row 2"),
        ({"shape": np.array([2, 2])}, "shape 2 x 2 has 4 entries, a row of x has 3"),
        ({"shape": np.array([1.5])}, "no list of whole numbers"),
        ({"x_train": np.zeros((2, 4)), "y_train": np.zeros(2)}, "train rows have shape 4, test rows 3"),
        ({"y": np.array([0, 1, 0, 1, 0, None])}, "y: holds pickled objects, which are never opened"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    refused(arrays(tmp_path / "a.npz", **changes), match)


def test_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    for name, content in (("a.npz", b"PK\3\4 and no more"), ("b.npz", b"version https://git-lfs")):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "is no .npz file")
    refused(tmp_path / "none.npz", "does not exist")
    refused(tmp_path / "aa.npz", r"does not exist; did you mean .*/a.npz")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 9)}
    )
    with zipfile.ZipFile(tmp_path / "lies.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
        archive.writestr("y.npy", header.getvalue())
    refused(tmp_path / "lies.npz", "x: is no array")


@pytest.mark.parametrize(
    ("lines", "options", "match"),
    [
        (("a,b", "1,2"), {}, "class, target or y; name it: --label b, or in a suite"),
        (("y,label,a", "1,2,3"), {}, "more than one column is called"),
        (("a,clas", "1,2"), {"label": "class"}, "no column 'class'; did you mean clas"),
        (("1,2", "3,4"), {}, "has no line of names"),
        ((",a,y", "0,1,2"), {}, "column 1 has no name"),
        (("a,a,y", "0,1,2"), {}, "column a stands there twice"),
        (("a,y",), {}, "holds no rows"),
        (("a,y", "1,0", "high,1"), {}, "line 3: a is 'high', not a number"),
        (("a,y", "1,0", ",1"), {}, "line 3: a is empty"),
        (("a,y", "1,0", "nan,1"), {}, "line 3: a is 'nan', not a number; fill it in, or leave the row"),
        (("a;y", "1;0", "2,5;1"), {}, "line 3: a is '2,5', not a number; write decimals with a point"),
        (("a,y", "1,0", "1_0,1"), {}, "line 3: a is '1_0'"),
        (("a,y", "1,0", "1"), {}, "line 3 has 1 cells"),
        (("a,y", "1,"), {}, "line 2: y is empty"),
        (("a,y", "1,0", "1e99,1"), {}, "line 3: a is 1e"),
        (("a,y", '1,"0'), {}, "line 2"),
        (("y", "0"), {}, "no column but the classes"),
        (("a,y", "1,red"), {"class_names": ("rot",)}, "label 'red' of line 2"),
        (("a,y", "1,0"), {"size": 3}, "size means nothing for a .csv file"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    tmp_path: Path, lines: tuple[str, ...], options: dict[str, Any], match: str
) -> None:
    refused(table(tmp_path / "a.csv", *lines), match, **options)


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, "has no folders of classes")
    folder = images(tmp_path / "photos")
    refused(folder, "label 'cat' of cat/0.png is not among the class names", class_names=("fish", "dog"))
    refused(folder, "mean has 2 values; give 1, 3 .one a channel. or 60", mean=(0.0, 1.0))
    Image.new("RGB", (9, 4)).save(folder / "dog" / "2.png")
    refused(folder, "dog/2.png is RGB with 4 x 9 pixels, cat/0.png is RGB with 4 x 5")
    Image.new("L", (5, 4)).save(folder / "dog" / "2.png")
    refused(folder, "dog/2.png is grey")
    Image.new("I;16", (5, 4)).save(folder / "dog" / "2.png")
    refused(folder, "dog/2.png has more than 8 bits for a value", colour="grey")
    Image.new("RGBA", (5, 4)).save(folder / "dog" / "2.png")
    refused(folder, "dog/2.png is of kind RGBA")
    (folder / "dog" / "2.png").write_bytes(b"no picture")
    refused(folder, "dog/2.png is no image that can be read")
    (folder / "dog" / "2.png").write_bytes((folder / "dog" / "1.png").read_bytes()[:60])
    refused(folder, "dog/2.png is no image that can be read")
    (folder / "dog" / "2.png").unlink()
    (folder / "eel").mkdir()
    refused(folder, "class eel has no images")
    (folder / "eel" / "old").mkdir()
    refused(folder, "eel/old is a folder in the folder of a class")


def test_folders_of_numbers_must_say_their_order(tmp_path: Path) -> None:
    for name in ("2", "10"):
        (tmp_path / name).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / name / "a.png")
    refused(tmp_path, "order as text is another one")
    assert open_dataset(tmp_path, DataOptions(class_names=("2", "10"))).test_y.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ("wine.npy", "holds inputs without labels"),
        ("data/wine.parquet", "does not exist"),
        ("digit", "no data set is called 'digit'; did you mean digits"),
    ],
)
def test_what_is_no_data_is_refused(given: str, match: str) -> None:
    with pytest.raises(SalverError, match=match):
        open_dataset(given)
    with pytest.raises(SalverError, match="size means nothing for a set of the catalogue"):
        open_dataset("bandit", DataOptions(size=3))


def test_points_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    like = open_dataset(arrays(tmp_path / "a.npz", lower=-1, upper=2))
    for value, match in (
        (np.zeros(4), "holds 4 values"),
        (np.array([0, np.nan, 0]), "entry 1 is nan"),
        (np.array(["a"] * 3), "not numbers"),
        (np.array([0, 2.5, 0]), r"entry 1 is 2.5, outside of \[-1, 2\]"),
        (np.array([0, None, 0]), "pickled objects"),
    ):
        np.save(path, value)
        with pytest.raises(SalverError, match=match):
            open_point(path, 3, like)


def test_entries_of_a_suite_are_checked() -> None:
    for raw, match in (
        ({"path": "a.npz", "lowr": 1}, "lowr: no entry has this name; did you mean lower"),
        ({"path": "a.npz", "mean": float("nan")}, "mean"),
        ({"path": "a", "size": 0}, "size"),
        ({"size": 3}, "path: is missing"),
        (3, "3 is not"),
    ):
        with pytest.raises(SalverError, match=match):
            parse_record(DataSource, raw, "suite")


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([b"b", b"a"], ([1, 0], ("a", "b"))),
        (["0.0", "1.0"], ([0, 1], ())),
        (["10", "2"], ([10, 2], ())),
        (["no", "1"], ([1, 0], ("1", "no"))),
    ],
)
def test_numbers_as_text_are_numbers(tmp_path: Path, labels: list[Any], found: object) -> None:
    data = open_dataset(arrays(tmp_path / "a.npz", x=np.zeros((2, 1)), y=np.array(labels)))
    assert (data.test_y.tolist(), data.classes) == found


def test_numbers_as_text_are_no_positions_below_zero(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "a,y", "1,-1", "2,1")
    refused(path, "label -1 of line 2 is no whole number")
    assert open_dataset(path, DataOptions(class_names=("-1", "1"))).test_y.tolist() == [0, 1]


def test_a_network_may_take_its_channels_last(tmp_path: Path) -> None:
    x = np.arange(48.0).reshape(2, 2, 4, 3)
    options = DataOptions(layout="hwc", mean=(0.0, 1.0, 2.0), lower=0.0, upper=(50.0, 60.0, 70.0))
    kept = open_dataset(arrays(tmp_path / "a.npz", x=x, y=np.array([0, 1])), options)
    assert kept.input_shape == (2, 4, 3)
    assert np.array_equal(kept.test_x, (x - [0, 1, 2]).reshape(2, -1).astype(np.float32))
    assert kept.bounds[1][:4].tolist() == [50.0, 59.0, 68.0, 50.0]
    turned = open_dataset(arrays(tmp_path / "b.npz", x=x.transpose(0, 3, 1, 2), y=np.array([0, 1])),
                          options.model_copy(update={"file_layout": "chw"}))  # fmt: skip
    assert np.array_equal(turned.test_x, kept.test_x)
    folder = images(tmp_path / "photos")
    last, first = (open_dataset(folder, DataOptions(layout=layout)) for layout in ("hwc", "chw"))
    assert last.input_shape == (4, 5, 3)
    assert np.array_equal(
        last.test_x.reshape(4, 4, 5, 3).transpose(0, 3, 1, 2), first.test_x.reshape(4, 3, 4, 5)
    )
    refused(arrays(tmp_path / "c.npz"), "x has 2 axes, and file_layout is about", file_layout="hwc")


@pytest.mark.slow
@settings(max_examples=150)
@given(st.integers(0, 3), st.data())
def test_a_damaged_file_is_read_or_refused(valid: Any, kind: int, data: st.DataObject) -> None:
    path, content = valid[kind]
    start = data.draw(st.integers(0, len(content)))
    cut = data.draw(st.integers(0, 20))
    damaged = content[:start] + data.draw(st.binary(max_size=6)) + content[start + cut :]
    path.write_bytes(damaged)
    with contextlib.suppress(SalverError):
        if path.suffix == ".npy":
            open_point(path, 3)
        else:
            open_dataset(path.parents[1] if path.suffix == ".png" else path)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, bytes]]:
    """A file of every kind, and what it holds while it is whole."""
    folder = tmp_path_factory.mktemp("valid")
    np.save(folder / "x.npy", np.zeros(3))
    picture = images(folder / "photos", "L", (2, 2)) / "cat" / "0.png"
    csv = table(folder / "a.csv", "a,b,y", '1,2,"0"', "-1e3,.5,1")
    paths = [arrays(folder / "a.npz"), folder / "x.npy", csv, picture]
    return [(path, path.read_bytes()) for path in paths]
