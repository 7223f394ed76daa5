"""Publishing as its users do it: publish twice, submit, fetch, verify; and the project's published sets."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import vnnlib

from salver.cli.calling import call
from salver.core.errors import SalverError
from salver.families.generate import drafts
from salver.families.instance import Manifest
from salver.families.instance_set import checksums, read_manifest, set_folder, write_set
from salver.families.suite import Suite, read_suite
from salver.publish.census import count, network_facts
from salver.publish.folder import Prepared, differences, prepare, published_files, write
from salver.publish.rights import Terms, terms_of
from salver.publish.validate import pins, validate
from salver.publish.verify import verify_set
from salver.spec import parse_vnnlib
from tests.builders.command_line import app
from tests.builders.odd_files import ODD_FILES
from tests.builders.small_network import classifier

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "instances" / "published"
TERMS = Terms(url="https://example.org/tiny", date="2026-01-02")
SUITE = Suite.model_validate(
    {
        "key": "tiny", "title": "Tiny", "description": "Two points.", "timeout": 5,
        "family": [
            {
                "generator": "vg_box",
                "params": {
                    "network": "bandit-6x6", "points": 2, "epsilons": [0.3, 0.5],
                    "delta_factors": [0.5, 1.1], "enumerate": True,
                },
            }
        ],
    }
)  # fmt: skip


def generated(suite: Suite, folder: Path) -> Manifest:
    return write_set(folder, suite, drafts(suite), lambda _: None)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "tiny"
    generated(SUITE, folder)
    return folder


@pytest.fixture(scope="module")
def published(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("published") / "tiny"
    write(prepare(source, TERMS), out)
    return out


@pytest.fixture
def copy(published, tmp_path) -> Path:
    shutil.copytree(published, tmp_path / "copy")
    return tmp_path / "copy"


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def resigned(folder: Path) -> None:
    """What someone who changes a file and covers it up would do."""
    described = json.loads((folder / "croissant.json").read_text())
    for one in described["distribution"]:
        if (folder / one["contentUrl"]).is_file():
            one["sha256"] = hashlib.sha256((folder / one["contentUrl"]).read_bytes()).hexdigest()
    (folder / "croissant.json").write_text(json.dumps(described))
    (folder / "SHA256SUMS").write_text(checksums(folder))


def test_publishing_twice_gives_the_same_bytes(published, tmp_path):
    again = tmp_path / "set"
    generated(SUITE, again)
    write(prepare(again, TERMS), tmp_path / "tiny")
    assert tree(tmp_path / "tiny") == tree(published)
    for name in ("tiny.tar.gz", "tiny.tar.gz.sha256"):
        assert (tmp_path / name).read_bytes() == published.with_name(name).read_bytes()
    write(prepare(again, TERMS), tmp_path / "tiny")
    assert tree(tmp_path / "tiny") == tree(published)
    assert not list(tmp_path.glob(".partial*"))


def test_the_archive_holds_the_folder_and_coreutils_can_check_both(published, tmp_path):
    with tarfile.open(published.with_name("tiny.tar.gz")) as tar:
        tar.extractall(tmp_path, filter="data")
    top = tmp_path / "salver-tiny-1-s0"
    assert tree(top) == tree(published)
    for folder, sums in ((published.parent, "tiny.tar.gz.sha256"), (top, "SHA256SUMS")):
        subprocess.run(["sha256sum", "--quiet", "-c", sums], cwd=folder, check=True)
    assert len((top / "SHA256SUMS").read_text().splitlines()) == len(tree(top)) - 1


def test_a_receiver_accepts_what_was_published(published):
    for path in (published, published.with_name("tiny.tar.gz")):
        manifest, complaints = verify_set(path)
        assert (len(manifest.instances), complaints) == (8, [])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_a_changed_byte_in_any_file_is_found_and_the_file_named(published, copy):
    for name in tree(published):
        if name == "SHA256SUMS":
            continue
        if name == "manifest.json":
            text = (copy / name).read_text().replace('"Tiny"', '"Tinz"')
            (copy / name).write_text(text)
        else:
            flip(copy / name)
        _, complaints = verify_set(copy)
        assert name in {complaint.file for complaint in complaints}, name
        assert any("its checksum differs" in complaint.what for complaint in complaints)
        shutil.copyfile(published / name, copy / name)
        if name.startswith("vnnlib"):
            break


def test_a_tampered_archive_is_not_the_one_of_its_checksum(published, tmp_path):
    for name in ("tiny.tar.gz", "tiny.tar.gz.sha256"):
        shutil.copy(published.with_name(name), tmp_path)
    path = tmp_path / "tiny.tar.gz"
    path.write_bytes(path.read_bytes() + gzip.compress(b""))
    _, complaints = verify_set(path)
    assert [c.what for c in complaints] == ["is not the archive that tiny.tar.gz.sha256 was made of"]


def _drop_bound(folder: Path) -> None:
    path = sorted((folder / "vnnlib").glob("*.gz"))[0]
    lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
    path.write_bytes(gzip.compress("".join(lines[:-1]).encode(), mtime=0))


def _other_network(folder: Path) -> None:
    path = next((folder / "onnx").glob("*.gz"))
    model = onnx.load_from_string(gzip.decompress(path.read_bytes()))
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.raw_data = (2 * np.frombuffer(weights.raw_data, np.float32)).tobytes()
    path.write_bytes(gzip.compress(model.SerializeToString(), mtime=0))


def _unlisted_row(folder: Path) -> None:
    with (folder / "instances.csv").open("a") as stream:
        stream.write("onnx/x.onnx,vnnlib/x.vnnlib,5\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_drop_bound, "ask different questions"),
        (_other_network, "is not the gradient network"),
        (_unlisted_row, "does not list instances of the manifest"),
        (lambda folder: next((folder / "networks").glob("*.gz")).unlink(), "cannot be read"),
        (lambda folder: next((folder / "vnnlib2").glob("*.gz")).unlink(), "cannot be read"),
    ],
    ids=["property", "network", "csv", "no classifier", "no text"],
)
def test_a_change_with_fitting_checksums_is_found_by_validation(copy, change: Callable[[Path], None], said):
    change(copy)
    resigned(copy)
    _, complaints = verify_set(copy)
    assert any(said in complaint.what for complaint in complaints), complaints


def test_a_text_that_grows_beyond_what_is_read_is_refused(published, monkeypatch):
    monkeypatch.setattr("salver.publish.verify.MOST_TEXT_BYTES", 100)
    said = [complaint.what for complaint in verify_set(published)[1]]
    assert said == ["unpacks to more than salver reads"]


def test_an_added_file_and_one_outside_are_found(copy):
    (copy / "extra.txt").write_text("x")
    with (copy / "SHA256SUMS").open("a") as stream:
        stream.write(f"{'0' * 64}  ../up\n")
    said = {complaint.file: complaint.what for complaint in verify_set(copy)[1]}
    assert said["extra.txt"] == "is not listed in SHA256SUMS"
    assert "leaves the instance set" in said["SHA256SUMS"]


NAMED = [
    "manifest.json",
    "SHA256SUMS",
    "instances.csv",
    "croissant.json",
    "vnnlib",
    "vnnlib2",
    "onnx",
    "networks",
]


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("kind", ODD_FILES)
def test_what_is_no_file_is_no_part_of_a_published_set(copy, kind, name):
    path = copy / name if (copy / name).is_file() else sorted((copy / name).glob("*.gz"))[0]
    path.unlink()
    ODD_FILES[kind](path)
    try:
        said = "; ".join(f"{c.file}: {c.what}" for c in verify_set(copy)[1])
    except SalverError as error:
        said = str(error)
    assert path.name in said
    assert "TOPSECRET" not in said


@pytest.mark.parametrize("kind", ODD_FILES)
@pytest.mark.parametrize("name", ["SHA256SUMS", "instances.csv", "vnnlib", "onnx", "extra"])
def test_what_is_no_file_is_no_part_of_an_instance_set(source, tmp_path, kind, name):
    folder = tmp_path / "set"
    shutil.copytree(source, folder)
    path = sorted((folder / name).iterdir())[0] if (folder / name).is_dir() else folder / name
    path.unlink(missing_ok=True)
    ODD_FILES[kind](path)
    try:
        said = "; ".join(f"{c.file}: {c.what}" for c in validate(folder)[1])
    except SalverError as error:
        said = str(error)
    assert (path.name in said) or (name, kind) == ("extra", "a folder")
    with pytest.raises(SalverError) if said else contextlib.nullcontext():
        prepare(folder, TERMS)


@pytest.mark.parametrize("name", ["../up", "/etc/x", "a\nb", "-rf"])
def test_a_name_of_an_instance_that_would_be_written_elsewhere_is_refused(source, tmp_path, name):
    shutil.copytree(source, tmp_path / "set")
    manifest = json.loads((tmp_path / "set/manifest.json").read_text())
    manifest["instances"][0]["name"] = name
    (tmp_path / "set/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SalverError, match=r"leaves the instance set|is no plain file name"):
        read_manifest(tmp_path / "set")


def test_a_set_that_does_not_validate_is_not_published(source, tmp_path):
    shutil.copytree(source, tmp_path / "set")
    _drop_bound(tmp_path / "set")
    with pytest.raises(SalverError, match=r"is not published, since it does not validate: .*complaints"):
        prepare(tmp_path / "set", TERMS)


def test_too_long_a_set_is_not_published(source, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(source, folder)
    for name in ("manifest.json", "instances.csv"):
        text = (folder / name).read_text()
        longer = text.replace('"timeout": 5.0', '"timeout": 10800.0')
        (folder / name).write_text(longer.replace(".vnnlib,5\n", ".vnnlib,10800\n"))
    (folder / "SHA256SUMS").write_text(checksums(folder))
    with pytest.raises(SalverError, match=r"of one draw sum up to 18\.00 h, VNN-COMP allows 6 h"):
        prepare(folder, TERMS)


def test_two_instances_of_one_name_are_never_generated(tmp_path):
    family = SUITE.family[0]
    params = {**family.params, "points": 1, "enumerate": False}
    twice = (family.model_copy(update={"params": params}),) * 2
    with pytest.raises(SalverError, match="two instances have this name"):
        generated(SUITE.model_copy(update={"family": twice}), tmp_path / "twice")


def draw(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    # -I -S: neither salver nor any other installed package can be imported.
    return subprocess.run(
        [sys.executable, "-I", "-S", str(folder / "generate_properties.py"), *arguments],
        cwd="/", capture_output=True, text=True, check=check,
    )  # fmt: skip


def test_the_script_draws_by_seed_with_nothing_installed(copy, published):
    assert draw(copy, "896832480").stdout == "seed 896832480: 6 instances\n"
    once = tree(copy)
    draw(copy, "896832480")
    assert tree(copy) == once
    draw(copy, "1")
    assert tree(copy)["instances.csv"] != once["instances.csv"]
    assert verify_set(copy)[1] == []
    draw(copy, "0")
    assert verify_set(copy)[1] == []
    assert {name: data for name, data in tree(copy).items() if name in tree(published)} == tree(published)


def test_a_draw_has_what_vnn_comp_looks_for(copy):
    draw(copy, "7")
    rows = [line.split(",") for line in (copy / "instances.csv").read_text().splitlines()]
    assert {len(row) for row in rows} == {3}
    assert sorted(p.name for p in (copy / "vnnlib").glob("*.vnnlib")) == sorted(
        Path(row[1]).name for row in rows
    )
    assert {p.name for p in (copy / "onnx").glob("*.onnx")} == {Path(row[0]).name for row in rows}
    for version in ("1.0", "2.0"):
        assert (copy / version / "instances.csv").read_bytes() == (copy / "instances.csv").read_bytes()
        for network, prop, seconds in rows:
            assert float(seconds) > 0
            assert (copy / version / f"{network}.gz").is_file()
            text = gzip.decompress((copy / version / f"{prop}.gz").read_bytes()).decode()
            query = vnnlib.parse_query_string(text if version == "2.0" else _as_2(text))
            assert query.assertions
            parse_vnnlib(text, prop)


def _as_2(text: str) -> str:
    """A 1.0 text as the same query in 2.0, for the package that reads 2.0 alone."""
    from salver.spec import to_vnnlib2

    return to_vnnlib2(parse_vnnlib(text, "1.0"))


@pytest.mark.parametrize("arguments", [(), ("x",), ("1", "2"), ("1.5",)])
def test_the_script_refuses_what_is_no_seed(copy, arguments):
    done = draw(copy, *arguments, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("generate_properties.py: ")
    assert done.stderr.count("\n") == 1


def test_the_script_says_that_the_folder_is_damaged(copy):
    next((copy / "onnx").glob("*.gz")).unlink()
    done = draw(copy, "0", check=False)
    assert done.returncode == 2
    assert "the published folder is damaged" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_commands(tmp_path, monkeypatch, capsys):
    for name in ("generators", "runners"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "benchmarks").mkdir()
    text = 'title = "one"\ntimeout = 5\n[[family]]\ngenerator = "vg_box"\nparams = { network = "bandit-6x6", points = 1, epsilons = [0.3], delta_factors = [1.1] }\n'  # noqa: E501
    (tmp_path / "benchmarks" / "one.toml").write_text(text)
    monkeypatch.setenv("SALVER_ROOT", str(tmp_path))
    generated(read_suite("one"), set_folder(tmp_path, read_suite("one")))

    def call(*arguments: str) -> str:
        app(list(arguments), standalone_mode=False)
        return capsys.readouterr().out

    out = tmp_path / "out" / "one"
    with pytest.raises(SalverError, match=r"out: does not exist; make it first"):
        call("publish", "one", "-o", str(out))
    out.parent.mkdir()
    said = call("publish", "one", "-o", str(out), "--date", "2026-01-02")
    assert "one: 1 instance, 1 a seed" in said
    assert "give --url" in said
    assert "is what one gives now" in call("publish", "one", "-o", str(out), "--check")
    assert "1 instance as published, and valid" in call("verify-set", f"{out}.tar.gz")
    (out / "README.md").write_text("mine")
    with pytest.raises(SalverError, match=r"is not what one gives now: 1 file, first README\.md"):
        call("publish", "one", "-o", str(out), "--check")
    with pytest.raises(SalverError, match="1 complaint;"):
        call("verify-set", str(out))
    assert "README.md: was changed after it was published" in capsys.readouterr().out
    with pytest.raises(SalverError, match="exists and is no published set"):
        call("publish", "one", "-o", str(tmp_path / "benchmarks"))
    with pytest.raises(SalverError, match="does not exist"):
        call("verify-set", str(tmp_path / "nothing"))


FOREIGN = """
title = "Foreign"
timeout = 5
[[family]]
generator = "vg_box"
params = { network = "net.onnx", dataset = "bandit", points = 1, epsilons = [0.5], deltas = [1.0], keep_robust = true }
"""  # noqa: E501
OWNERS = """
[publication]
title = "Our set"
licence = "cc-by-4.0"
keywords = ["wine"]
[[publication.authors]]
name = "Ada Lovelace"
orcid = "0000-0002-1825-0097"
"""


def run_command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status, and what was printed on stdout and stderr."""
    status = call(app, [str(argument) for argument in arguments])
    return status, "".join(capsys.readouterr())


def test_a_foreign_network_is_published_under_its_owners_licence_or_not_at_all(tmp_path, monkeypatch, capsys):
    (tmp_path / "project" / "benchmarks").mkdir(parents=True)
    (tmp_path / "project" / "generators").symlink_to(ROOT / "generators")
    monkeypatch.setenv("SALVER_ROOT", str(tmp_path / "project"))
    suite, out = tmp_path / "own.toml", tmp_path / "set"
    classifier(tmp_path / "net.onnx", inputs=5)
    suite.write_text(FOREIGN)
    status, said = run_command(capsys, "publish", suite, "-o", out, "--creator", "Me")
    assert (status, out.exists()) == (2, False)
    assert "network net is not salver's" in said
    suite.write_text(FOREIGN + OWNERS)
    address = ("--url", "https://example.org/own", "--date", "2026-05-06")
    assert run_command(capsys, "publish", suite, "-o", out, *address)[0] == 0
    first = tree(out)
    for name, data in first.items():
        text = gzip.decompress(data) if name.endswith(".gz") else data
        assert b"the salver authors" not in text, name
    described = json.loads(first["croissant.json"])
    assert described["license"][0] == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert b"Copyright (c) 2026, Ada Lovelace\n" in first["LICENSE"]
    assert b'title: "Our set"' in first["CITATION.cff"]
    assert run_command(capsys, "publish", suite, "-o", out)[0] == 0
    assert tree(out) == first, "what the first publication said is kept"
    assert verify_set(out)[1] == []
    assert run_command(capsys, "publish", suite, "-o", out, "--check")[0] == 0


def again(prepared: Prepared, **changes: str) -> Prepared:
    """The same set as another suite's, version's or seed's."""
    manifest = prepared.manifest.model_copy(update=changes)
    text = (manifest.model_dump_json(indent=1) + "\n").encode()
    return Prepared(manifest, prepared.census, {**prepared.files, "manifest.json": text})


def test_a_second_publication_never_loses_what_the_first_had(source, copy, tmp_path):
    prepared = prepare(source, TERMS)
    draw(copy, "5")
    before = tree(copy)
    write(prepared, copy)
    assert tree(copy) == before, "another seed's draw stays"
    for changes, said in (
        ({"seed": 3}, "holds salver-tiny-1-s0, not salver-tiny-1-s3"),
        ({"version": "2"}, "holds salver-tiny-1-s0, not salver-tiny-2-s0"),
        ({"title": "x"}, "version 1 was published with other instances"),
    ):
        with pytest.raises(SalverError, match=said):
            write(again(prepared, **changes), copy)
    for name in ("notes.txt", "vnnlib/mine.vnnlib", "1.0/readme"):
        (copy / name).write_text("mine")
        with pytest.raises(SalverError, match=f"holds {name}, which is not of the published set"):
            write(prepared, copy, force=True)
        (copy / name).unlink()
    (copy / "README.md").write_text("better")
    with pytest.raises(SalverError, match=r"README\.md was changed since it was published"):
        write(prepared, copy)
    assert (copy / "README.md").read_text() == "better"
    write(again(prepared, version="2"), copy, force=True)
    assert read_manifest(copy).version == "2"
    assert not list(tmp_path.glob(".partial*"))


def test_an_archive_from_elsewhere_is_not_replaced(source, tmp_path):
    prepared, archive = prepare(source, TERMS), tmp_path / "tiny.tar.gz"
    archive.write_bytes(b"mine")
    for force in (False, True):
        with pytest.raises(SalverError, match="is there already, from something else"):
            write(prepared, tmp_path / "tiny", force=force)
    assert archive.read_bytes() == b"mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.tar.gz"]


def test_nothing_changes_where_a_publication_cannot_be_written(source, copy, monkeypatch, tmp_path):
    prepared, before = prepare(source, TERMS), tree(copy)

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SalverError, match="No space left on device"):
        write(prepared, copy)
    monkeypatch.undo()
    assert tree(copy) == before
    assert [p.name for p in tmp_path.iterdir()] == ["copy"]


def test_every_seed_s_draw_is_as_published_and_a_changed_one_is_not(copy):
    for seed in ("1", "2", "896832480"):
        draw(copy, seed)
        assert verify_set(copy)[1] == []
    drawn = next((copy / "vnnlib").glob("*.vnnlib"))
    drawn.write_text(drawn.read_text() + "; one line more\n")
    (copy / "2.0" / "extra.txt").write_text("x")
    said = {complaint.file: complaint.what for complaint in verify_set(copy)[1]}
    assert said == {
        f"vnnlib/{drawn.name}": "is not what generate_properties.py writes",
        "2.0/extra.txt": "is not listed in SHA256SUMS",
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:-1],
        lambda rows: rows[::-1],
        lambda rows: [*rows, rows[0]],
        lambda rows: [rows[0].replace(",5", ",6"), *rows[1:]],
        lambda rows: [],
    ],
    ids=["fewer", "order", "twice", "seconds", "none"],
)
def test_instances_that_no_seed_draws_are_complained_of(copy, change):
    path = copy / "instances.csv"
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    assert {complaint.file for complaint in verify_set(copy)[1]} == {"instances.csv"}


@pytest.mark.parametrize(
    ("damage", "status", "said"),
    [
        (lambda path: None, 0, "as published, and valid"),
        (lambda path: (path / "README.md").write_text("x"), 1, "1 complaint; fetch"),
        (lambda path: (path / "manifest.json").write_text("{"), 1, "2 complaints; fetch"),
        (lambda path: (path / "SHA256SUMS").unlink(), 2, "is no published set"),
        (shutil.rmtree, 2, "does not exist"),
    ],
    ids=["fine", "readme", "manifest", "no sums", "nothing"],
)
def test_the_status_of_verify_set_says_whether_it_was_checked(copy, damage, status, said, capsys):
    damage(copy)
    found, text = run_command(capsys, "verify-set", copy)
    assert (found, said in text) == (status, True), text


def test_an_instance_set_is_no_published_one_and_the_line_says_what_to_do(source, capsys):
    status, text = run_command(capsys, "verify-set", source)
    assert status == 2
    assert "`salver validate` checks the instance set of a suite" in text
    assert text.count("\n") == 1


def test_a_cut_archive_is_found_by_its_checksum(published, tmp_path, capsys):
    for name in ("tiny.tar.gz", "tiny.tar.gz.sha256"):
        shutil.copy(published.with_name(name), tmp_path)
    archive = tmp_path / "tiny.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-100])
    status, text = run_command(capsys, "verify-set", archive)
    assert (status, "is not the archive that tiny.tar.gz.sha256 was made of" in text) == (1, True)
    archive.with_name("tiny.tar.gz.sha256").unlink()
    assert run_command(capsys, "verify-set", archive)[0] == 2


@pytest.mark.parametrize("key", ["bandit", "digits"])
def test_the_project_s_published_sets_are_what_their_suites_give(key, tmp_path):
    """A platform whose training comes out differently says so and is not held to the same bytes."""
    folder, suite = PUBLISHED / key, read_suite(str(ROOT / "benchmarks" / f"{key}.toml"))
    assert verify_set(folder)[1] == []
    manifest = generated(suite, tmp_path / "set")
    if unpinned := list(pins(tmp_path / "set", manifest)):
        pytest.skip(f"{unpinned[0].file} {unpinned[0].what}")
    census = count(manifest, network_facts(tmp_path / "set", manifest))
    files = published_files(tmp_path / "set", manifest, census, terms_of(folder))
    assert differences(Prepared(manifest, census, files), folder) == []
    assert read_manifest(folder) == manifest
