"""Tables for a paper, and texts of others in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

PACKAGES = "% needs \\usepackage{booktabs}\n"
"""Head of a file with tables."""
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def latex(text: str) -> str:
    """A text as LaTeX shows it, never as LaTeX obeys it."""
    return "".join(_SPECIAL.get(mark, mark) for mark in text if mark.isprintable())


def booktabs(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    texts: int,
    best: frozenset[tuple[int, int]],
    rules: frozenset[int],
    caption: str,
    label: str,
) -> str:
    """A `table` in the style of booktabs, with everything escaped.

    Args:
        texts: how many columns stand to the left; numbers stand to the right.
        best: cells in bold, as row and column.
        rules: rows that a rule stands above.
    """

    def line(cells: Sequence[str]) -> str:
        return f"{' & '.join(cells)} \\\\"

    lines = [r"\begin{table}", r"\centering", rf"\caption{{{latex(caption)}}}", rf"\label{{tab:{label}}}"]
    lines += [rf"\begin{{tabular}}{{{'l' * texts}{'r' * (len(headings) - texts)}}}", r"\toprule"]
    lines += [line([latex(heading) for heading in headings]), r"\midrule"]
    for number, row in enumerate(rows):
        lines += [r"\midrule"] if number in rules else []
        cells = [latex(cell) for cell in row]
        lines.append(line([rf"\textbf{{{c}}}" if (number, at) in best else c for at, c in enumerate(cells)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"
