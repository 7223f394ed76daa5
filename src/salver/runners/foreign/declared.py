"""`runners/NAME.toml`: a tool with a common interface, described in a few lines of data and no code.

    kind = "vnncomp"            # VNN-COMP's scripts; or "vnnlib", the VNN-LIB standard's command line
    path = "~/tools/mytool"     # folder of the scripts; or the program

`ToolDescription` lists the other keys. A path that is not absolute starts at the TOML file's folder, but a
bare program name is looked up as the shell does; `~` and `$VARIABLE` are replaced, and a tool whose
variable is not set is unavailable.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from salver.core.errors import SalverError
from salver.core.files import read_toml
from salver.core.names import SOLVER_NAME, SOLVER_NAME_HINT
from salver.core.records import Record, parse_record
from salver.families.instance import Instance
from salver.runners.contract import CANONICAL_OPERATORS, Resources, Runner
from salver.runners.foreign.vnncomp import VnnCompTool
from salver.runners.foreign.vnnlib_cli import VnnLibTool
from salver.spec import Norm
from salver.supervise.finished import Limits

VARIABLE = re.compile(r"\$\{?(\w+)\}?")


class ToolDescription(Record):
    """The keys of the file; those about what the tool can do are the attributes of `Runner`.

    Attributes:
        kind: `vnncomp` or `vnnlib`.
        path: folder of the scripts, or the program.
        arguments: put before the standard ones (`vnnlib` only).
        prepare: false leaves `prepare_instance.sh` out, for scripts that kill by name (`vnncomp` only).
        version: overrides what the tool, or a hash of its scripts, says.
        environment: variables added to a run; values may refer to others, as in `"$HOME/bin:$PATH"`.
        exit_codes: statuses beside 0 that are no error (see `Runner`).
        operators: ONNX operators the tool takes. Without it a `vnnlib` tool is asked, and a `vnncomp` tool
            is given everything that salver writes.
    """

    kind: Literal["vnncomp", "vnnlib"]
    path: str = Field(min_length=1)
    arguments: tuple[str, ...] = ()
    prepare: bool = True
    url: str = ""
    version: str = ""
    environment: dict[str, str] = Field(default_factory=dict)
    operators: frozenset[str] | None = None
    devices: frozenset[Literal["cpu", "cuda"]] = frozenset({"cpu"})
    vnnlib_versions: tuple[Literal["1.0", "2.0"], ...] | None = None
    norms: frozenset[Norm] = frozenset(("linf",))
    exit_codes: frozenset[int] = frozenset()
    complete: bool = False
    by_default: bool = True
    cpus: int = Field(default=1, gt=0)
    memory_mb: int = Field(default=16000, gt=0)


def declared_runner(file: Path) -> type[Runner]:
    """The runner that a TOML file describes; its name is the file's, in lower case.

    Raises:
        SalverError: the file does not parse, has an unknown key or one of the other kind.
    """
    where = str(file)
    raw = read_toml(file, "correct or remove it")
    description: ToolDescription = parse_record(ToolDescription, raw, where)
    name = file.stem.lower()
    if not SOLVER_NAME.fullmatch(name):
        raise SalverError("is no name for a solver", where, SOLVER_NAME_HINT)
    foreign = {"vnncomp": ("arguments", "vnnlib_versions"), "vnnlib": ("prepare",)}[description.kind]
    for key in set(foreign) & set(raw):
        raise SalverError(f"{key}: is not for kind {description.kind!r}", where, "remove this entry")
    attributes = {"__module__": __name__, "name": name, **_common(description)}
    if description.kind == "vnncomp":
        attributes |= {"folder": _located(description.path, file), "prepares": description.prepare}
        return type(f"VnnComp_{name}", (_DeclaredTool, VnnCompTool), attributes)
    program = str(_located(description.path, file)) if os.sep in description.path else description.path
    attributes |= {"tool": (program, *description.arguments)}
    if description.vnnlib_versions:
        attributes["vnnlib_versions"] = description.vnnlib_versions
    return type(f"VnnLib_{name}", (_DeclaredTool, VnnLibTool), attributes)


def _common(description: ToolDescription) -> dict[str, Any]:
    return {
        "description": description,
        "url": description.url,
        "operators": description.operators or CANONICAL_OPERATORS,
        "devices": frozenset(description.devices),
        "norms": description.norms,
        "exit_codes": description.exit_codes,
        "complete": description.complete,
        "by_default": description.by_default,
        "resources": Resources(cpus=description.cpus, memory_mb=description.memory_mb),
    }


def _located(path: str, file: Path) -> Path:
    return file.parent.absolute() / Path(os.path.expandvars(path)).expanduser()


class _DeclaredTool(Runner):
    """What the file says goes before what the kind of tool would say by itself."""

    description: ToolDescription

    def unavailable(self) -> str | None:
        for variable in VARIABLE.findall(self.description.path):
            if not os.environ.get(variable):
                return f"{variable} is not set"
        return super().unavailable()

    def version(self) -> str:
        return self.description.version or super().version()  # type: ignore[safe-super]

    def environment(self, limits: Limits) -> dict[str, str]:
        own = {key: os.path.expandvars(value) for key, value in self.description.environment.items()}
        return {**super().environment(limits), **own}

    def supports(self, instance: Instance) -> str | None:
        if self.description.operators is not None:
            return Runner.supports(self, instance)
        return super().supports(instance)
