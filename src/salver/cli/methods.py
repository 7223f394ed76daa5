"""`salver methods`: every method of explaining, what its graph is made of, and who can solve that."""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from salver.cli import completing
from salver.cli.json_output import print_json
from salver.cli.options import AsJson

if TYPE_CHECKING:
    from salver.explain.explanation import Form
    from salver.points.entries import Entry
    from salver.runners.contract import Runner


def methods(
    name: Annotated[
        str | None,
        typer.Argument(help="one method, or its beginning (default: all)", autocompletion=completing.methods),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the methods of explaining and their options.

    What is not supported follows, with the reason.

    Example: salver methods smoothgrad
    """
    from salver.explain.explanation import METHODS
    from salver.explain.unsupported import METHODS as REFUSED
    from salver.explain.unsupported import unsupported
    from salver.points.entries import chosen

    refused = None if name is None else unsupported(name)
    if refused is not None:
        found, left_out = [], [refused]
    elif name is not None:
        found, left_out = [described(chosen(name, METHODS, "method"))], []
    else:
        found, left_out = all_described(), list(REFUSED)
    if as_json:
        reasons = [
            {"method": one.name, "reason": one.reason, "instead": list(one.instead)} for one in left_out
        ]
        print_json({"methods": found, "unsupported": reasons})
    elif name is None:
        print(_all(found, [(one.name, one.reason) for one in left_out]))
    else:
        print("\n".join([_page(one) for one in found] + [str(one.error("")) for one in left_out]))


def all_described() -> list[dict[str, Any]]:
    """Every method, those that more solvers take first."""
    from salver.explain.explanation import Form
    from salver.points.entries import known_methods

    forms = [form.value for form in Form]
    return sorted(map(described, sorted(known_methods())), key=lambda one: forms.index(one["form"]))


def described(method: str) -> dict[str, Any]:
    """What there is to know of a method, for JSON."""
    from salver.explain.explanation import METHODS, Explanation
    from salver.points.entries import entries_of

    record = METHODS.known[method]
    assert issubclass(record, Explanation)
    return {
        "method": method,
        "map": (inspect.getdoc(record) or "").partition("\n")[0],
        "form": record.form.value,
        "solvers": takers(record.form),
        "options": [_option(entry) for entry in entries_of(method)],
        "paper": record.paper,
    }


def takers(form: Form) -> list[str]:
    """Names of the solvers that take graphs of a form, by what they declare; outside a project our own."""
    from salver.core.errors import SalverError
    from salver.runners.embedded import embedded_runners
    from salver.runners.registry import runners

    known: dict[str, type[Runner]] = {kind.name: kind for kind in embedded_runners()}
    with contextlib.suppress(SalverError):
        known |= runners(warn=False)
    return sorted(name for name, kind in known.items() if kind.takes(form))


def _all(found: list[dict[str, Any]], left_out: list[tuple[str, str]]) -> str:
    from tabulate import tabulate

    rows = [
        (one["method"], one["form"], " ".join(option["option"] for option in one["options"]), one["paper"])
        for one in found
    ]
    forms = {one["form"]: ", ".join(one["solvers"]) for one in found}
    parts = (
        tabulate(rows, ["method", "form", "options", "paper"], "plain"),
        tabulate(forms.items(), ["form", "solvers"], "plain"),
        tabulate(left_out, ["not supported", "since"], "plain"),
    )
    return "\n\n".join(parts)


def _page(one: dict[str, Any]) -> str:
    lines = [f"{one['method']}: {one['map']}", f"  paper    {one['paper']}", f"  form     {one['form']}"]
    lines.append(f"  solvers  {', '.join(one['solvers'])}")
    for option in one["options"]:
        default = "required" if option["required"] else f"default {option['default']}"
        lines.append(f"  {option['option']}  {option['description']} ({option['value']}; {default})")
    return "\n".join(lines)


def _option(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "option": entry.option,
        "description": entry.about,
        "value": entry.value,
        "required": bool(entry.required),
        "default": entry.default,
    }
