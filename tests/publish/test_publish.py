"""Publishing without networks: draws, limits, card and metadata against golden files, archives.

Set UPDATE_GOLDEN=1 to write the golden files anew; read the difference before committing it.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tarfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.core import unpacking as archives
from salver.core.errors import SalverError
from salver.core.unpacking import unpack
from salver.explain.gradient import Gradient
from salver.families.instance import DataCard, Facts, Instance, Manifest, Vacuity
from salver.families.other_class import SameMap
from salver.families.publication import Author, DataOrigin, Publication
from salver.families.questions import TopKChanges
from salver.publish import generate_properties as drawing
from salver.publish import rights as rights_module
from salver.publish.archive import archive
from salver.publish.card import data_card
from salver.publish.census import MOST_SECONDS, NetworkFacts, count, most_seconds, refuse_unfit
from salver.publish.croissant import croissant
from salver.publish.folder import refuse_strangers
from salver.publish.rights import Rights, Terms, citation_cff, kept, licence_file, rights_of
from salver.publish.verify import verify_set
from salver.spec.truth import Evidence, Truth
from salver.zoo.datasets import NAMES
from salver.zoo.datasets.catalogue import origin_of
from tests.builders.odd_files import ODD_FILES

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent.parent / "golden" / "publish"
REQUIRED = (
    "@context",
    "@type",
    "conformsTo",
    "name",
    "description",
    "license",
    "url",
    "creator",
    "datePublished",
)


def instance(
    number: int, *, timeout: float = 20.0, network: str = "net", name: str = "", **changes
) -> Instance:
    described = {
        "family": "vg_box", "network": network, "dataset": "digits", "index": number, "label": 1,
        "explanation": Gradient(logit=1), "question": SameMap(delta=0.5, targets=(0,)), "epsilon": 0.25,
        "clip": (0.0, 1.0), "input_shape": (1, 8, 8), "logits": 10, "saliencies": 64,
    }  # fmt: skip
    stem = name or f"{network}-i{number}"
    return Instance(
        id=f"{number:016x}", suite="tiny", name=stem, onnx=f"onnx/{network}-g1.onnx",
        vnnlib=f"vnnlib/{stem}.vnnlib", vnnlib2=f"vnnlib2/{stem}.vnnlib", network=f"networks/{network}.onnx",
        timeout=timeout, operators=("Gemm", "Relu", "Sign"), facts=Facts(**{**described, **changes}),
    )  # fmt: skip


def manifest(*instances: Instance) -> Manifest:
    return Manifest(
        suite="tiny", version="1", seed=3, title="Tiny | set", description="For tests.", salver="9.9.9",
        recipe="0123456789abcdef", instances=instances,
    )  # fmt: skip


MIXED = manifest(
    instance(0, expected=Truth.SAT, evidence=Evidence.PROVED,
             vacuity=Vacuity(delta_over_saliency=0.25, delta_star_upper=0.4, samples=100)),
    instance(1, vacuity=Vacuity(delta_over_saliency=0.75, samples=50)),
    instance(2, vacuity=Vacuity(delta_over_saliency=0.5, samples=50)),
    instance(3, network="other", family="topk_rank", dataset="compas", input_shape=(11,), logits=2,
             saliencies=11, expected=Truth.UNSAT, evidence=Evidence.ENUMERATED, timeout=60.0,
             vacuity=Vacuity(epsilon_star_upper=0.1), question=TopKChanges(k=3, inside=(0, 1, 2), size=11)),
)  # fmt: skip
NETWORKS = (NetworkFacts("net", 64, 10, 1234), NetworkFacts("other", 11, 2, 56))


def own_rights(**terms: str) -> Rights:
    """Of networks of the zoo, by whoever publishes them."""
    return Rights(Publication(**terms), None, ("net", "other"), ())


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_the_card_is_the_golden_one():
    compare("README.md", data_card(MIXED, count(MIXED, NETWORKS), "salver-tiny-1-s3", own_rights()))


def test_the_metadata_is_the_golden_one_and_has_all_that_croissant_requires():
    files = {"manifest.json": b"{}", "instances.csv": b"a,b,1\n", "onnx/net-g1.onnx.gz": b"x"}
    rights = own_rights(url="https://example.org/tiny", date="2026-01-02")
    text = croissant(MIXED, count(MIXED, NETWORKS), files, rights, "salver-tiny-1-s3")
    compare("croissant.json", text)
    described = json.loads(text)
    assert set(REQUIRED) <= set(described)
    assert described["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    terms_used = _keys({key: value for key, value in described.items() if key != "@context"})
    plain = {"contentSize", "contentUrl", "creator", "datePublished", "description", "distribution"}
    plain |= {"encodingFormat", "keywords", "license", "name", "sha256", "url", "version"}
    assert terms_used <= set(described["@context"]) | plain | {"@type", "@id"}
    files_named = {one["@id"] for one in described["distribution"]}
    sources = {field["source"]["fileObject"]["@id"] for field in described["recordSet"][0]["field"]}
    assert sources <= files_named == set(files)


def _keys(value) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(_keys(part) for part in value.values()))
    return set().union(*(_keys(part) for part in value)) if isinstance(value, list) else set()


def test_paths_of_the_metadata_lead_to_values_of_the_manifest():
    described = json.loads(croissant(MIXED, count(MIXED, NETWORKS), {"a": b""}, own_rights(), "n"))
    first = MIXED.instances[0].model_dump(mode="json")
    for field in described["recordSet"][0]["field"]:
        value = first
        for key in field["source"]["extract"]["jsonPath"].removeprefix("$.instances[*].").split("."):
            value = value[key]
        kind = {"sc:Text": str, "sc:Float": float, "sc:Integer": int}[field["dataType"]]
        assert isinstance(value, kind)
    assert own_rights().missing == ("--url", "--date")
    assert {"url", "datePublished"}.isdisjoint(described)


@pytest.mark.parametrize(
    "bad",
    [
        {"url": "ftp://x"},
        {"url": 'https://x.org/"><b'},
        {"date": "1.2.2026"},
        {"date": "2026-13-45"},
        {"date": "2026-02-30"},
        {"date": "2026-2-3"},
        {"date": "\u0662\u0660\u0662\u0666-01-01"},
        {"date": "tomorrow"},
        {"creator": ""},
        {"creator": "two\nlines"},
        {"page": "x"},
    ],
)
def test_unusable_terms_are_refused(bad):
    with pytest.raises(ValueError):
        Terms(**bad)


def test_dates_are_dates_and_toml_s_own_are_taken():
    assert Publication(date="2028-02-29").date == "2028-02-29"
    assert Publication.model_validate(tomllib.loads("date = 2026-12-01")).date == "2026-12-01"
    for bad in ("2026-13-45", "2027-02-29"):
        with pytest.raises(ValueError, match=r"there is no day .*; write YYYY-MM-DD"):
            Publication(date=bad)
    with pytest.raises(ValueError, match="is no date; write YYYY-MM-DD"):
        Publication.model_validate(tomllib.loads("date = 2026-12-01T10:00:00"))


@pytest.mark.parametrize(
    "good",
    [
        "0000-0002-1825-0097",
        "0000-0001-5109-3700",
        "0000-0002-1694-233X",
        "https://orcid.org/0000-0002-1694-233x",
    ],
)
def test_orcid_ids_with_their_check_digit_are_taken(good):
    assert Author(name="A", orcid=good).orcid == good.removeprefix("https://orcid.org/").upper()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("0000-0002-1825-0098", "check digit"), ("0000-0002-1852-0097", "check digit"),
        ("0000-0002-1694-2330", "check digit"), ("0000000218250097", "no ORCID iD"), ("", "no ORCID iD"),
        ("0000-0002-1825-009\u0667", "no ORCID iD"),
        ("http://example.org/0000-0002-1825-0097", "no ORCID iD"),
    ],
)  # fmt: skip
def test_other_orcid_ids_are_refused(bad, said):
    with pytest.raises(ValueError, match=said):
        Author(name="A", orcid=bad)


def test_licences_are_spdx_s_in_its_own_spelling():
    assert Publication(licence="cc-by-4.0").licence == "CC-BY-4.0"
    assert Publication.model_validate({"license": "MIT or apache-2.0"}).licence == "MIT OR Apache-2.0"
    for bad in ("CC BY 4.0", "Creative Commons", "", "LicenseRef-mine", "MIT AND"):
        with pytest.raises(ValueError, match=r"no SPDX licence; choose one of https://spdx\.org/licenses"):
            Publication(licence=bad)


@pytest.mark.parametrize(
    "bad", [{"doi": "zenodo.123"}, {"authors": [{"name": " "}]}, {"authors": [{"nam": "A"}]},
            {"licens": "MIT"},
            {"keywords": ["a\nb"]}, {"citation": "\x1b[31m"}, {"authors": "me"}]
)  # fmt: skip
def test_an_unusable_publication_is_refused(bad):
    with pytest.raises(ValueError):
        Publication.model_validate(bad)


OTHERS = Publication(
    title="Our [set]", licence="CC-BY-4.0", doi="https://doi.org/10.5281/zenodo.12", keywords=("wine",),
    date="2026-01-02", url="https://example.org/s",
    authors=(
        Author(name="Ada Lovelace", orcid="0000-0002-1825-0097", affiliation="London"),
        Author(name='The "Group"'),
    ),
)  # fmt: skip


def test_a_set_of_foreign_networks_carries_its_owners_words_alone():
    rights = rights_of(MIXED, [], OTHERS, Terms())
    assert (rights.foreign, rights.own) == (("net", "other"), ())
    text = licence_file(rights, "Our set", ["digits"])
    assert "SPDX-License-Identifier: CC-BY-4.0\nhttps://spdx.org/licenses/CC-BY-4.0.html" in text
    assert 'Copyright (c) 2026, Ada Lovelace, The "Group"' in text
    described = json.loads(croissant(MIXED, count(MIXED, NETWORKS), {"a": b""}, rights, "n"))
    assert described["license"] == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert [one["name"] for one in described["creator"]] == ["Ada Lovelace", 'The "Group"']
    assert described["creator"][0]["identifier"] == "https://orcid.org/0000-0002-1825-0097"
    assert described["sameAs"] == "https://doi.org/10.5281/zenodo.12"
    assert "wine" in described["keywords"]
    assert "year={2026}" in described["citeAs"]
    card = data_card(MIXED, count(MIXED, NETWORKS), "n", rights)
    assert card.startswith("# Our [set]\n")
    assert "By Ada Lovelace ([0000-0002-1825-0097](https://orcid.org/0000-0002-1825-0097)), London; " in card
    assert "CC-BY-4.0 for the networks net, other" in card
    for own in ("salver authors", "BSD-3-Clause"):
        assert own not in text + card + json.dumps(described)
    cff = citation_cff(rights, MIXED, "Our set")
    for line in ('  - family-names: "Lovelace"', '    given-names: "Ada"', '    affiliation: "London"',
                 '    orcid: "https://orcid.org/0000-0002-1825-0097"', '  - family-names: "\\"Group\\""',
                 'doi: "10.5281/zenodo.12"', 'date-released: "2026-01-02"',
                 "license: CC-BY-4.0"):  # fmt: skip
        assert line in cff.splitlines()


def test_the_documented_publication_is_one():
    text = (ROOT / "docs" / "publishing.md").read_text().partition("```toml\n")[2].partition("```")[0]
    found = Publication.model_validate(tomllib.loads(text)["publication"])
    assert set(found.model_dump(exclude_none=True)) == set(Publication.model_fields)
    assert found.authors[0].affiliation == "Analytical Society, London"


def test_a_foreign_network_without_a_licence_is_refused():
    for publication in (None, Publication(authors=OTHERS.authors)):
        with pytest.raises(SalverError, match=r"network net is not salver's, .* add `\[publication\]`"):
            rights_of(MIXED, [], publication, Terms(creator="Me"))


def test_a_network_is_salver_s_by_its_name_in_the_zoo_unless_a_file_has_that_name():
    names = ("bandit-6x6", "digits-16x16-wd-s3", "digits-16x16-needle-box-i2", "digits-32x32-gates-i7")
    ours = manifest(*(instance(n, network=name) for n, name in enumerate(names)))
    assert rights_of(ours, ["/a/q.vnnlib.gz"], None, Terms()).foreign == ()
    taken = rights_of(ours, ["/a/bandit-6x6.onnx.gz", "/a/digits-32x32.onnx"], OTHERS, Terms())
    assert taken.foreign == ("bandit-6x6", "digits-32x32-gates-i7")
    assert "Networks digits-16x16-needle-box-i2, digits-16x16-wd-s3:\n\nBSD 3-Clause" in licence_file(
        taken, "t", []
    )
    assert taken.licences == ("CC-BY-4.0", "BSD-3-Clause")
    with pytest.raises(SalverError, match=r"salver's own, which are under BSD-3-Clause, not CC-BY-4\.0"):
        rights_of(ours, [], OTHERS, Terms())


def test_what_an_earlier_publication_said_is_kept_where_nobody_says_otherwise():
    earlier = Terms(url="https://example.org/1", date="2026-01-02", creator="Group")
    assert kept(Terms(), None, earlier) == earlier
    assert kept(Terms(date="2026-05-05"), None, earlier).date == "2026-05-05"
    assert kept(Terms(), OTHERS, earlier) == Terms()


SIZES = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(list(Truth))), min_size=1, max_size=30)


@pytest.mark.slow
@given(SIZES, st.integers(-(10**12), 10**12))
def test_a_draw_is_the_quota_of_every_group_in_order(kinds, seed):
    plain = [
        instance(n, network=network, expected=truth).model_dump(mode="json")
        for n, (network, truth) in enumerate(kinds)
    ]
    drawn = drawing.draw(plain, seed)
    assert drawn == drawing.draw(list(plain), seed)
    assert [i for i in plain if i in drawn] == drawn
    for members in drawing.groups(plain).values():
        assert sum(i in drawn for i in members) == drawing.quota(len(members)) >= 2 * len(members) / 3
    assert sum(i["timeout"] for i in drawn) <= most_seconds(manifest(*map(Instance.model_validate, plain)))


def test_networks_of_one_or_two_instances_are_drawn_together():
    odd = [instance(n, network=f"n{n}") for n in range(6)]
    small = manifest(*odd, *(instance(n, network="big") for n in range(6, 9)))
    first, second = count(small, ()).groups
    assert (first.networks, first.instances, first.drawn) == (6, 6, 4)
    assert (second.network, second.networks, second.drawn) == ("big", 1, 2)


def test_seeds_draw_different_instances():
    plain = [instance(n).model_dump(mode="json") for n in range(12)]
    draws = {tuple(i["name"] for i in drawing.draw(plain, seed)) for seed in range(10)}
    assert len(draws) == 10
    assert {name for one in draws for name in one} == {i["name"] for i in plain}


def test_timeouts_over_six_hours_are_refused_and_just_six_are_not():
    fits = manifest(*(instance(n, timeout=MOST_SECONDS / 4) for n in range(6)))
    refuse_unfit(fits, "here")
    over = manifest(*fits.instances[:5], instance(9, timeout=MOST_SECONDS / 4 + 1))
    with pytest.raises(
        SalverError, match=r"one draw sum up to 6\.00 h, VNN-COMP allows 6 h; lower `timeout`"
    ):
        refuse_unfit(over, "here")
    assert most_seconds(over) == MOST_SECONDS + 1


def test_two_files_of_one_stem_are_refused_even_in_another_case():
    with pytest.raises(SalverError, match="2 vnnlib files have the stem 'same'"):
        refuse_unfit(manifest(instance(0, name="same"), instance(1, name="Same")), "here")
    with pytest.raises(SalverError, match="2 onnx files have the stem 'net-g1'"):
        refuse_unfit(manifest(instance(0), instance(1, network="NET")), "here")


FILES = {"b/two.txt": b"2" * 1000, "a.py": b"print()", "long/" + "n" * 150: b"x"}


def test_the_same_files_in_any_order_make_the_same_archive(tmp_path):
    first = archive(FILES, "top")
    assert first == archive(dict(reversed(FILES.items())), "top")
    path = tmp_path / "a.tar.gz"
    path.write_bytes(first)
    (tmp_path / "out").mkdir()
    top = unpack(path, tmp_path / "out")
    assert {p.relative_to(top).as_posix(): p.read_bytes() for p in top.rglob("*") if p.is_file()} == FILES
    with tarfile.open(path) as tar:
        assert all((m.mtime, m.uid, m.gid, m.uname, m.gname) == (0, 0, 0, "", "") for m in tar)
        assert [m.name for m in tar] == sorted(m.name for m in tar)


def _tar(*entries: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for entry in entries:
            tar.addfile(entry, io.BytesIO(b"x" * entry.size))
    return stream.getvalue()


def _entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    return entry


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense",
        archive(FILES, "top")[:-40],
        _tar(_entry("../up")),
        _tar(_entry("top/link", tarfile.SYMTYPE, "/etc/passwd")),
        _tar(_entry("top/pipe", tarfile.FIFOTYPE)),
        _tar(_entry("one/a"), _entry("two/b")),
        _tar(_entry("file")),
        _tar(),
    ],
    ids=["no archive", "cut", "up", "link", "pipe", "two tops", "no folder", "empty"],
)
def test_odd_archives_are_refused_in_one_line(tmp_path, data):
    path, out = tmp_path / "a.tar.gz", tmp_path / "out"
    path.write_bytes(data)
    out.mkdir()
    with pytest.raises(SalverError) as caught:
        unpack(path, out)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "up").exists()


@pytest.mark.parametrize(
    ("format_", "name"),
    [
        (tarfile.PAX_FORMAT, "top/" + "n" * 180 + "/" + "é" * 90),
        (tarfile.GNU_FORMAT, "top/" + "n" * 180 + "/file"),
        (tarfile.USTAR_FORMAT, "top/" + "n" * 90 + "/" + "m" * 90),
        (tarfile.PAX_FORMAT, "top/file"),
    ],
)
def test_archives_of_other_tools_are_read(tmp_path, format_, name):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=format_) as tar:
        folder = tarfile.TarInfo("top")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for number, path in enumerate((name, "top/other")):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime, entry.uname = 1000 + number, 1.5, "é"
            tar.addfile(entry, io.BytesIO(b"x" * entry.size))
    (tmp_path / "out").mkdir()
    top = unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert (tmp_path / "out" / name).read_bytes() == b"x" * 1000
    assert (top / "other").stat().st_size == 1001


def _header(kind: bytes, size: int, name: bytes = b"top/x") -> bytes:
    """A header that says of its content what it is told to."""
    header = bytearray(512)
    header[: len(name)], header[124:136], header[156:157] = name, b"%011o\0" % size, kind
    header[148:156] = b"%06o\0 " % (sum(header) + 8 * 32)
    return bytes(header)


def _pax(records: bytes) -> bytes:
    return _header(b"x", len(records)) + records + bytes(-len(records) % 512)


FILE = _header(b"0", 0)
HUGE = 1536 << 20
BOMBS = {
    "a name of 1.5 GiB": (_header(b"x", HUGE), "a name is longer than 65536 bytes"),
    "a GNU name of 1.5 GiB": (_header(b"L", HUGE), "a name is longer than"),
    "a global header of 1.5 GiB": (_header(b"g", HUGE), "a name is longer than"),
    "a GNU link of 1.5 GiB": (_header(b"K", HUGE), "which is no plain file"),
    "a size in an extended header": (_pax(b"16 size=9999999\n") + FILE, "states size"),
    "a sparse file": (_pax(b"22 GNU.sparse.major=1\n") + FILE, "states GNU.sparse.major"),
    "an old sparse file": (_header(b"S", 10), "which is no plain file"),
    "a damaged extended header": (_pax(b"99999 path=x\n") + FILE, "extended header is damaged"),
    "a damaged header": (FILE[:-1] + b"x", "a header is damaged"),
    "no octal size": (FILE[:124] + b"9" * 11 + FILE[135:], "no octal number"),
    "a hard link": (_header(b"1", 0), "which is no plain file"),
    "a device": (_header(b"3", 0), "which is no plain file"),
    "an absolute path": (_header(b"0", 0, b"/etc/salver-test"), "leaves its folder"),
    "a path up": (_header(b"0", 0, b"top/../../x"), "leaves its folder"),
    "an absolute path in an extended header": (_pax(b"20 path=/etc/salver\n") + FILE, "leaves its folder"),
    "no name": (_header(b"0", 0, b""), "leaves its folder"),
    "folders in each other": (_pax(b"2013 path=" + b"a/" * 1000 + b"xx\n") + FILE, "folders deep"),
    "a file in a file": (FILE + _header(b"0", 0, b"top/x/y"), "File exists"),
    "a file twice": (FILE + FILE, "File exists"),
    "cut short": (_header(b"0", 1000) + b"x", "cut short"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_archives_that_are_made_to_harm_are_refused(tmp_path, kind):
    data, said = BOMBS[kind]
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(data + bytes(1024)))
    (tmp_path / "out").mkdir()
    with pytest.raises(SalverError, match=said):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "out"}


@pytest.mark.parametrize(("name", "most"), [("MOST_BYTES", 100_000), ("MOST_ENTRIES", 10)])
def test_an_archive_without_end_is_refused(tmp_path, monkeypatch, name, most):
    monkeypatch.setattr(archives, name, most)
    (tmp_path / "a.tar.gz").write_bytes(archive({f"{n}": bytes(1 << 14) for n in range(20)}, "top"))
    (tmp_path / "out").mkdir()
    with pytest.raises(SalverError, match=r"it unpacks to more than|it holds more than 10 files"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")


def test_a_gzip_header_without_end_is_refused(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (8 << 20))
    (tmp_path / "out").mkdir()
    with pytest.raises(SalverError, match="cut short"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")


@pytest.mark.parametrize("kind", [kind for kind in ODD_FILES if kind not in ("a folder", "a file of 1 TiB")])
def test_only_a_file_is_taken_for_an_archive(tmp_path, kind):
    ODD_FILES[kind](tmp_path / "a.tar.gz")
    with pytest.raises(SalverError) as caught:
        verify_set(tmp_path / "a.tar.gz")
    assert len(str(caught.value).splitlines()) == 1


def test_every_data_set_has_an_origin_and_its_licence_is_an_spdx_name():

    for origin in map(origin_of, (*NAMES, "mnist_fc")):
        assert re.fullmatch(r"[A-Za-z0-9.-]*", origin.licence)
    assert origin_of("my own").licence_text == "not stated"
    text = licence_file(own_rights(), "Tiny", ["compas", "digits"])
    assert text.startswith((ROOT / "LICENSE").read_text().rstrip() + "\n")
    assert "Licence: CC-BY-4.0" in text
    assert "Licence: none stated" in text


def test_the_licence_that_is_published_is_the_project_s():
    assert rights_module.OWN_TEXT.read_text() == (ROOT / "LICENSE").read_text()


def test_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("years of it")
    with pytest.raises(SalverError, match="exists and is no published set"):
        refuse_strangers(tmp_path / "work")


def test_the_origin_of_own_data_is_what_the_suite_states():
    own = manifest(instance(0, dataset="wine.npz"), instance(1, dataset="photos/"))
    card = DataCard(name="wine.npz", sha256="", classes=("red", "white"), features=tuple(map(str, range(40))))
    own = own.model_copy(update={"data": (card,)})
    origin = DataOrigin(name="wine.npz", source="Ann Doe, 2026", licence="CC-BY-4.0")
    rights = rights_of(own, ["net.onnx"], Publication(licence="MIT", data=(origin,)), Terms())
    text = licence_file(rights, "t", ["wine.npz", "photos/", "digits"])
    assert "wine.npz: Ann Doe, 2026\n  Licence: CC-BY-4.0" in text
    assert "photos/: not stated\n  Licence: not stated" in text
    shown = data_card(own, count(own, NETWORKS), "n", rights)
    assert "| wine.npz | wine.npz | Ann Doe, 2026 | CC-BY-4.0 | 1 |" in shown
    assert "- wine.npz: 2 classes: red, white; 40 features: 0, 1, 2, " in shown
    assert " 29 and 10 more\n" in shown


@pytest.mark.parametrize(
    ("name", "match"),
    [("wine.csv", "no instance is about wine.csv; did you mean wine.npz"), ("digits", "of the catalogue")],
)
def test_the_origin_of_other_data_is_refused(name, match):
    own = manifest(instance(0, dataset="wine.npz"), instance(1))
    stated = Publication(licence="MIT", data=(DataOrigin(name=name),))
    with pytest.raises(SalverError, match=match):
        rights_of(own, ["net.onnx"], stated, Terms())
