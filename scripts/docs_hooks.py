"""What mkdocs does beside its own: formulas as MathML, help of all commands, no address outside the site."""

from __future__ import annotations

import html
import re
from typing import Any

import typer.main
from latex2mathml.converter import convert

from salver.cli.app import app
from salver.cli.methods import all_described
from salver.explain.unsupported import METHODS as UNSUPPORTED
from salver.proofs.command import proof_parser
from salver.solvers.arguments import build_parser
from salver.solvers.registry import SOLVERS

COMMANDS, SOLVER_TABLE = "<!-- commands -->", "<!-- solvers -->"
METHOD_TABLE, REFUSED_TABLE = "<!-- methods -->", "<!-- unsupported methods -->"
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
SHIM = re.compile(r"https://unpkg\.com/iframe-worker/shim")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Puts what the code says of itself where a page asks for it, so that it cannot be out of date."""
    written_by = {
        COMMANDS: reference,
        SOLVER_TABLE: solver_table,
        METHOD_TABLE: method_table,
        REFUSED_TABLE: refused_table,
    }
    for mark, written in written_by.items():
        if mark in markdown:
            markdown = markdown.replace(mark, written())
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Formulas become MathML here: browsers show it without a script or a font of ours."""
    return FORMULA.sub(_mathml, html)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """The theme's one address outside the site becomes the copy in it; see docs/javascripts."""
    up = "../" * page.url.count("/")
    return SHIM.sub(f"{up}javascripts/iframe-worker.js", output)


def on_post_template(output_content: str, **_: Any) -> str:
    """The same for 404.html, which is no page."""
    return SHIM.sub("javascripts/iframe-worker.js", output_content)


def reference() -> str:
    """Markdown: a heading and the `--help` of every command."""
    parts = [_section(name, text) for name, text in _helps(typer.main.get_command(app), "salver", None)]
    solve = build_parser()
    parsers = {"salver-solve": solve, **_actions(solve), "salver-solve check-proof": proof_parser()}
    return "\n".join(parts + [_section(name, parser.format_help()) for name, parser in parsers.items()])


def solver_table() -> str:
    """Markdown: a row for every embedded solver."""
    rows = ["| name | what it is | complete | writes proofs | runs on | needs |", "|---|---|---|---|---|---|"]
    for solver in SOLVERS.values():
        words = ["yes" if held else "no" for held in (solver.complete, solver.proves)]
        devices, needs = ", ".join(solver.devices), ", ".join(solver.needs)
        rows.append(f"| `{solver.name}` | {solver.about} | {' | '.join(words)} | {devices} | {needs} |")
    return "\n".join(rows)


def method_table() -> str:
    """Markdown: a row for every method of explaining, and one for every form."""
    found = all_described()
    rows = ["| method | form | options | published |", "|---|---|---|---|"]
    for one in found:
        options = " ".join(f"`{option['option']}`" for option in one["options"])
        rows.append(f"| [`{one['method']}`](#{one['method']}) | {one['form']} | {options} | {one['paper']} |")
    rows += ["", "| form | embedded solvers that take it |", "|---|---|"]
    for form, solvers in {one["form"]: one["solvers"] for one in found}.items():
        rows.append(f"| {form} | {', '.join(f'`{name}`' for name in solvers if name in SOLVERS)} |")
    return "\n".join(rows)


def refused_table() -> str:
    """Markdown: a row for every method that is not supported."""
    rows = ["| method | why not | in its place |", "|---|---|---|"]
    for one in UNSUPPORTED:
        instead = ", ".join(f"[`{name}`](#{name})" for name in one.instead)
        rows.append(f"| {one.name} | {one.reason} | {instead} |")
    return "\n".join(rows)


def _helps(command: Any, name: str, parent: Any) -> list[tuple[str, str]]:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    found = [(context.command_path, command.get_help(context))]
    for key, child in getattr(command, "commands", {}).items():
        found += _helps(child, key, context)
    return found


def _actions(parser: Any) -> dict[str, Any]:
    from salver.core.command_line import actions_of

    return {f"salver-solve SOLVER {name}": action for name, action in actions_of(parser).items()}


def _section(name: str, text: str) -> str:
    return f"### {name}\n\n```text\n{text.strip()}\n```\n"


def _mathml(found: re.Match[str]) -> str:
    display = "block" if found[1] == "div" else "inline"
    return convert(html.unescape(found[2].strip()), display=display)
