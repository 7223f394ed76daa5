"""How the templates of reports are filled in: every value escaped, none missing."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


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


def visible(text: str) -> str:
    """The text with pictures in place of control characters and changes of direction.

    What a solver prints must neither hide nor reorder what stands beside it.
    """
    return text.translate(_PICTURES)


_PICTURES = {
    **{code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)},
    0x7F: 0x2421,
    **dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD),
    **dict.fromkeys(
        [0xAD, 0x061C, 0xFEFF, 0x2028, 0x2029, *range(0x200B, 0x2010), *range(0x2060, 0x2066)], 0xFFFD
    ),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),
}
