"""`salver solvers`: what there is, and environments for verifiers of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from salver.cli.completing import peers
from salver.cli.help_text import Commands
from salver.cli.json_output import print_json
from salver.cli.options import AsJson

solvers_app = Commands(help="Solvers: list them, install peers.", no_args_is_help=True)


@solvers_app.command("list")
def list_solvers(as_json: AsJson = False) -> None:
    """List every solver, what it can do, or why it cannot run.

    Example: salver solvers list
    """
    from tabulate import tabulate

    from salver.runners.registry import runners, why_unavailable

    found: list[dict[str, Any]] = []
    known = runners(warn=False)
    for name, kind in sorted(known.items()):
        runner = kind()
        reason = why_unavailable(runner)
        found.append({
            "solver": name, "usable": reason is None, "version": "" if reason else runner.version(),
            "complete": runner.complete, "devices": sorted(runner.devices),
            "vnnlib": list(runner.vnnlib_versions), "reason": reason or "",
        })  # fmt: skip
    found += [
        {
            "solver": Path(one.where).name, "usable": False, "version": "", "complete": False, "devices": [],
            "vnnlib": [], "reason": str(one.error),
        }
        for one in known.broken
    ]  # fmt: skip
    if as_json:
        print_json(found)
        return
    rows = [
        (
            "ok" if one["usable"] else "-", one["solver"], one["version"], "yes" if one["complete"] else "no",
            "+".join(one["devices"]), "+".join(one["vnnlib"]), one["reason"],
        )
        for one in found
    ]  # fmt: skip
    heads = ["", "solver", "version", "complete", "devices", "VNN-LIB", "why not"]
    print(tabulate(rows, heads, "plain", disable_numparse=True))


@solvers_app.command("install")
def install_solvers(
    names: Annotated[
        list[str], typer.Argument(help="abcrown, neuralsat, nnenum or vibecheck", autocompletion=peers)
    ],
) -> None:
    """Give verifiers of others environments of their own, in the cache.

    Example: salver solvers install vibecheck neuralsat
    """
    from salver.core.plugins import choose
    from salver.runners.foreign.environments import folder_of, install
    from salver.runners.foreign.peers import PEERS

    for peer in [choose(name, PEERS, "verifier to install") for name in names]:
        print(f"{peer.name}: licence {peer.licence}, {peer.url}", flush=True)
        done = install(peer)
        own = ", ".join(f"{name} {version}" for name, version in done.own.items())
        borrowed = ", ".join(f"{name} {version}" for name, version in done.borrowed.items())
        print(f"{peer.name}: {own}; borrowed: {borrowed}; in {folder_of(peer.name)}")
        if peer.home:
            print(f"{peer.name}: now set {peer.home} to a checkout of {peer.url}")
