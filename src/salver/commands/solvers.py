"""`salver solvers`: what there is, and environments for verifiers of others."""

from __future__ import annotations

from typing import Annotated

import typer

solvers_app = typer.Typer(help="Solvers: list them, install peers.", no_args_is_help=True)


@solvers_app.command("list")
def list_solvers() -> None:
    """List every solver with what it can do, and why it cannot run here.

    Example: salver solvers list
    """
    from tabulate import tabulate

    from salver.plugins import runners

    rows = []
    for name, kind in sorted(runners().items()):
        runner = kind()
        reason = runner.unavailable()
        rows.append((
            "-" if reason else "ok", name, "" if reason else runner.version(),
            "yes" if runner.complete else "no", "+".join(sorted(runner.devices)),
            "+".join(runner.vnnlib_versions), reason or "",
        ))  # fmt: skip
    heads = ["", "solver", "version", "complete", "devices", "VNN-LIB", "why not"]
    print(tabulate(rows, heads, "plain", disable_numparse=True))


@solvers_app.command("install")
def install_solvers(
    names: Annotated[list[str], typer.Argument(help="abcrown, neuralsat, nnenum or vibecheck")],
) -> None:
    """Give verifiers of others environments of their own, in the cache.

    Example: salver solvers install vibecheck neuralsat
    """
    from salver.foreign.environments import folder_of, install
    from salver.foreign.peers import PEERS
    from salver.plugins import choose

    for peer in [choose(name, PEERS, "verifier to install") for name in names]:
        print(f"{peer.name}: licence {peer.licence}, {peer.url}", flush=True)
        done = install(peer)
        own = ", ".join(f"{name} {version}" for name, version in done.own.items())
        borrowed = ", ".join(f"{name} {version}" for name, version in done.borrowed.items())
        print(f"{peer.name}: {own}; borrowed: {borrowed}; in {folder_of(peer.name)}")
        if peer.home:
            print(f"{peer.name}: now set {peer.home} to a checkout of {peer.url}")
