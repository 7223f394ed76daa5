#!/usr/bin/env python3
"""Draws the instances of one seed from the published ones: `python3 generate_properties.py SEED`.

Needs nothing but Python's standard library (3.8 or newer). The seed is a whole number and chooses two thirds
of the instances, in proportion over family, network and known answer. Written beside this file:

    instances.csv, onnx/*.onnx, vnnlib/*.vnnlib    the drawn instances, unpacked, in VNN-LIB 1.0
    1.0/, 2.0/                                     the same in each version of VNN-LIB, compressed

The draw is a sort by hashes, so a seed means the same on every machine and in every version of Python.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

NUMERATOR, DENOMINATOR = 2, 3
VERSIONS = {"1.0": "vnnlib", "2.0": "vnnlib2"}


def quota(size: int) -> int:
    """How many of a group of `size` instances are drawn, at least one."""
    return -(-size * NUMERATOR // DENOMINATOR)


def groups(instances: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """The instances of a manifest by family, network and known answer.

    Networks with one or two instances of a family are taken together, with an empty name.
    """
    sizes = Counter((i["facts"]["family"], i["facts"]["network"]) for i in instances)
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for instance in instances:
        family, network = instance["facts"]["family"], instance["facts"]["network"]
        own = network if sizes[family, network] >= DENOMINATOR else ""
        found.setdefault((family, own, instance["facts"]["expected"]), []).append(instance)
    return found


def draw(instances: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The instances of a seed, in the order of the manifest."""

    def rank(instance: dict[str, Any]) -> bytes:
        return hashlib.sha256(f"{seed}:{instance['id']}".encode()).digest()

    drawn = set()
    for members in groups(instances).values():
        drawn |= {instance["id"] for instance in sorted(members, key=rank)[: quota(len(members))]}
    return [instance for instance in instances if instance["id"] in drawn]


def csv_text(instances: list[dict[str, Any]]) -> str:
    """The lines of `instances.csv`: network, property, seconds."""
    return "".join(f"{i['onnx']},{i['vnnlib']},{i['timeout']:g}\n" for i in instances)


def write(folder: Path, instances: list[dict[str, Any]]) -> None:
    """Unpacks the drawn instances into `folder`; what an earlier draw left is removed."""
    for name in ("onnx", "vnnlib"):
        for old in (folder / name).glob(f"*.{name}"):
            old.unlink()
    for version, texts in VERSIONS.items():
        shutil.rmtree(folder / version, ignore_errors=True)
        for name in ("onnx", "vnnlib"):
            (folder / version / name).mkdir(parents=True)
        for instance in instances:
            text, network = instance[texts] + ".gz", instance["onnx"] + ".gz"
            shutil.copyfile(folder / text, folder / version / "vnnlib" / Path(text).name)
            shutil.copyfile(folder / network, folder / version / network)
        (folder / version / "instances.csv").write_bytes(csv_text(instances).encode())
    for path in sorted({name for i in instances for name in (i["onnx"], i["vnnlib"])}):
        (folder / path).write_bytes(gzip.decompress((folder / (path + ".gz")).read_bytes()))
    (folder / "instances.csv").write_bytes(csv_text(instances).encode())


def main() -> int:
    """Exit status 2 and one line on stderr where the seed or the folder is not usable."""
    if len(sys.argv) != 2:
        return fail("give one argument, the seed: python3 generate_properties.py SEED")
    try:
        seed = int(sys.argv[1])
    except ValueError:
        return fail(f"the seed {sys.argv[1][:60]!r} is no whole number")
    folder = Path(__file__).resolve().parent
    try:
        instances = draw(
            json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["instances"], seed
        )
        write(folder, instances)
    except (OSError, EOFError, ValueError, KeyError) as error:
        return fail(f"the published folder is damaged ({error}); check it with sha256sum -c SHA256SUMS")
    print(f"seed {seed}: {len(instances)} instances")
    return 0


def fail(what: str) -> int:
    """Says what is wrong."""
    print(f"generate_properties.py: {what}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
