"""How the templates of reports are filled in: every value escaped, none missing."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from salver.report.page.data import visible


def environment() -> Environment:
    """Jinja's environment for `templates/`; control characters of untrusted text are made visible."""
    return Environment(
        loader=PackageLoader("salver.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
