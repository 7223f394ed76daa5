"""Draws docs/img/floors.svg: the packages as floors, from the import contract in pyproject.toml.

python scripts/floors.py
"""

from __future__ import annotations

import ast
import html
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "img" / "floors.svg"
WIDTH, HEIGHT, NAME, LEFT = 860, 30, 120, 10
WALLS = {
    "salver.proofs": "wall: own readers of files",
    "salver.oracle": "wall: no solver sees it",
    "salver.supervise": "wall: knows no network",
}


def floors() -> list[str]:
    """Packages from the top floor down, as the contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return [str(name) for name in contracts[0]["layers"]]


def purpose(package: str) -> str:
    """The first sentence of a package's or module's docstring."""
    path = ROOT / "src" / package.replace(".", "/")
    if package == "experiments":
        path = ROOT / package
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def drawn() -> str:
    """The picture as SVG; it is readable on light and dark pages."""
    rows = []
    for number, package in enumerate(floors()):
        top = LEFT + number * (HEIGHT + 4)
        wall = package in WALLS
        dashed = ' stroke-dasharray="5 3"' if wall else ""
        note = f"; {WALLS[package]}" if wall else ""
        name = package.removeprefix("salver.")
        rows.append(
            f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="4"'
            f' fill="none" stroke="#888"{dashed}/>'
            f'<text x="{LEFT + 10}" y="{top + 20}" font-weight="bold">{name}</text>'
            f'<text x="{LEFT + NAME}" y="{top + 20}">{html.escape(purpose(package) + note)}</text>'
        )
    height = 2 * LEFT + len(rows) * (HEIGHT + 4)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 2 * LEFT} {height}" role="img">'
        "<title>Packages as floors: each imports only what lies below it</title>"
        '<g font-family="sans-serif" font-size="13" fill="#808080">'
    )
    return "\n".join([head, *rows, "</g></svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(drawn())
