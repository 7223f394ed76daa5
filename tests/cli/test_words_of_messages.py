"""Whatever a person gets wrong is told in one line, and no library's words are in it."""

from __future__ import annotations

import copy
import gzip
import re
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.cli.calling import call
from salver.core.errors import SalverError
from salver.core.records import parse_record
from salver.families.named_files import refuse_missing_files, relative_to
from salver.families.registry import generators
from salver.families.suite import Suite, read_complete_suite, read_suite
from salver.run.cluster.pools import Pools
from salver.runners.foreign.declared import ToolDescription
from tests.builders.command_line import app
from tests.builders.small_network import classifier
from tests.builders.suites import SMALL

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = re.compile(
    r"Input should|Extra inputs|Field required|pydantic|valid (tuple|string|list|dictionary|integer|number)"
    r"|unable to parse|literal\[|errno|protobuf|Wire format|ModelProto|DecodeError|google\.|Traceback"
    r"|<class|object at 0x|numpy\.\w+(float|int)|\bdtype\('|float(32|64)|complex128|<U\d|[A-Z]\w+Error\b"
    r"|codec can't|zip file|Error -\d|decompress|allow_pickle=|h5py|HDF5 |\\d|\^\[|NoneType|tuple|\bdict\b",
    re.IGNORECASE,
)
VALUES = ("text", -1, 1.5, float("nan"), True, ["a", 1], {}, {"kind": "x", "method": "nobody"})
SUITE = tomllib.loads((ROOT / "benchmarks" / "quick.toml").read_text())
SUITE |= {"key": "quick", "family": SUITE["family"][:1], "publication": {"authors": [{"name": "A"}]}}
RECORDS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    **{name: (kind.parameters, SMALL[name][0]) for name, kind in generators().items()},
    "suite": (Suite, SUITE),
    "tool": (ToolDescription, {"kind": "vnnlib", "path": "/x", "version": "1"}),
    "pools": (Pools, {"pool": [{"name": "a", "cores": 2}]}),
}


def places(raw: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested tables and lists, but for the whole."""
    if path:
        yield path
    items = raw.items() if isinstance(raw, Mapping) else enumerate(raw) if isinstance(raw, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(raw: Any, path: tuple[Any, ...], value: Any) -> Any:
    made = copy.deepcopy(raw)
    inside = made
    for part in path[:-1]:
        inside = inside[part]
    inside[path[-1]] = value
    return made


def spoilt(kind: type[Any], raw: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The data with one entry changed, misspelt or set that was not there, and the place of that entry."""
    for path in (*places(raw), *((name,) for name in kind.model_fields)):
        for value in VALUES:
            yield path, changed(raw, path, value)
        if isinstance(path[-1], str):
            misspelt = (*path[:-1], f"{path[-1]}q")
            yield misspelt, changed(raw, misspelt, 1)


@pytest.mark.parametrize("name", RECORDS)
def test_an_entry_that_is_wrong_is_told_of_as_it_stands_in_the_file(name: str) -> None:
    kind, raw = RECORDS[name]
    found = [(path, refusal(kind, data)) for path, data in spoilt(kind, raw)]
    refused = [(path, error) for path, error in found if error is not None]
    assert len(refused) > 20
    for path, error in refused:
        assert not LIBRARY.search(str(error)), error
        assert "\n" not in str(error)
        assert error.hint, error
        assert re.split("[:. ]", error.what)[0] in {*kind.model_fields, *map(str, path)}, error


def refusal(kind: type[Any], data: dict[str, Any]) -> SalverError | None:
    try:
        parse_record(kind, data, "x.toml")
    except SalverError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("family", "told"),
    [
        ('family = "vg_box"', "family: no entry has this name; did you mean generator?"),
        ('genrator = "vg_box"', "genrator: no entry has this name; did you mean generator?"),
        ('generator = "vg_box"\nnetwork = "x"', "network: no entry has this name; write an option as params"),
        ("generator = 3", "family.0.generator: 3 is not text; write it in quotes"),
    ],
)
def test_a_family_in_a_suite_is_put_right(family: str, told: str, tmp_path: Path) -> None:
    suite = tmp_path / "s.toml"
    suite.write_text(f'title = "t"\ntimeout = 1\n[[family]]\n{family}\n')
    with pytest.raises(SalverError, match=re.escape(told)):
        read_suite(str(suite))


@pytest.mark.parametrize(
    ("suite", "told"),
    [
        (
            '[[family]]\ngenerator = "x"\nparams = { network = "nett.onnx" }',
            "nett.onnx: does not exist; did you mean",
        ),
        (
            '[[family]]\ngenerator = "x"\nparams = { dataset = { path = "z.csv" } }',
            "relative to the suite's file",
        ),
        ('[family]\ngenerator = "x"', "family: is one table, where a list of them is read; write [[family]]"),
    ],
)
def test_what_a_suite_lacks_is_told_before_anything_is_made(suite: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    (tmp_path / "s.toml").write_text(f'title = "t"\ntimeout = 1\n{suite}\n')
    with pytest.raises(SalverError, match=re.escape(told)):
        read_complete_suite(str(tmp_path / "s.toml"))


def test_a_name_inside_a_network_is_no_file(tmp_path: Path) -> None:
    params = {"output": "model/dense/out", "map": {"method": "grad-cam", "layer": "block/relu"}}
    refuse_missing_files(tmp_path, params)
    assert relative_to(tmp_path, params) == params


def _zipped(path: Path, member: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "no array")


def _odd_files(folder: Path) -> dict[str, Path]:
    """Files that are not what their names say, by those names."""
    noise = bytes(np.random.default_rng(0).integers(0, 256, 300, dtype=np.uint8))
    for ending in ("onnx", "onnx.gz", "npz", "npy", "csv", "png", "keras", "h5", "tar.gz", "toml", "vnnlib"):
        (folder / f"noise.{ending}").write_bytes(noise)
        (folder / f"empty.{ending}").write_bytes(b"")
    (folder / "text.onnx").write_text("hello")
    (folder / "text.onnx.gz").write_bytes(gzip.compress(b"hello"))
    (folder / "cut.onnx.gz").write_bytes(gzip.compress(b"hello" * 99)[:20])
    (folder / "open.toml").write_text("title = ")
    np.save(folder / "words.npy", np.array(["a"]))
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(folder / "objects.npz", x=np.array([{}], dtype=object), y=np.zeros(1))
    np.savez(folder / "complex.npz", x=np.zeros((1, 2), complex), y=np.zeros(1, int))
    _zipped(folder / "zipped.npz", "x_test.npy")
    _zipped(folder / "zipped.keras", "a")
    return {path.name: path for path in sorted(folder.iterdir())}


COMMANDS = {
    ("check", "FILE", "--point", "FILE", "--epsilon", "0.1", "--k", "1"): ".onnx .gz .keras .h5 .npz",
    ("check", "NETWORK", "--point", "FILE", "--epsilon", "0.1", "--k", "1"): ".npy .csv .png .toml",
    ("data", "show", "FILE"): ".npz .csv .toml",
    ("run", "FILE"): ".toml .gz .csv",
    ("run", "quick", "--engine", "slurm", "--pools", "FILE"): ".toml",
    ("generate", "FILE"): ".toml .csv",
    ("validate", "FILE"): ".gz",
    ("verify-set", "FILE"): ".gz .toml",
}
"""Commands, and which files each is given by their endings."""


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words[:3]))
def test_a_file_that_is_something_else_is_told_of_in_plain_words(
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder in ("benchmarks", "generators", "runners"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.setenv("SALVER_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd").mkdir()
    network = classifier(tmp_path / "net.onnx", inputs=3)
    for name, file in _odd_files(tmp_path / "odd").items():
        if file.suffix not in COMMANDS[command].split():
            continue
        words = [{"FILE": str(file), "NETWORK": str(network)}.get(word, word) for word in command]
        status = call(app, words)
        err = capsys.readouterr().err.replace(str(tmp_path), "")
        assert status in (1, 2), (name, err)
        assert err.startswith("salver: "), (name, err)
        assert err.count("\n") == 1, (name, err)
        assert not LIBRARY.search(err), (name, err)
        assert "unexpected" not in err, (name, err)
