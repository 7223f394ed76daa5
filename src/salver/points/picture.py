"""An answer as one page: the sentence, then point, map, counterexample, its map and the differences."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from salver.core.errors import SalverError
from salver.core.files import refuse_output, write_atomically
from salver.report.side_by_side import Panel, SideBySide, drawing, panels
from salver.report.templating import environment

KINDS = (".html", ".svg", ".png", ".pdf")


@dataclass(frozen=True, eq=False)
class PointPicture:
    """The picture of an answer: its sentence, what is drawn, and a line for what else is worth knowing.

    Jupyter shows it; `save` writes it as a page that loads nothing.
    """

    sentence: str
    scene: SideBySide
    details: tuple[str, ...]

    @cached_property
    def panels(self) -> list[Panel]:
        """The single pictures."""
        return panels(self.scene)

    @cached_property
    def fragment(self) -> str:
        """HTML to be put into another page."""
        shown = [(panel.caption, panel_source(panel)) for panel in self.panels]
        template = environment().get_template("point.html.j2")
        return template.render(sentence=self.sentence, panels=shown, details=self.details).strip()

    @cached_property
    def document(self) -> str:
        """The whole page."""
        title = self.sentence.partition(":")[0]
        return (
            environment().get_template("point_page.html.j2").render(title=title, fragment=self.fragment)
            + "\n"
        )

    @cached_property
    def svg(self) -> str:
        """Sentence and pictures as one drawing."""
        return drawing(self.sentence, [(panel, panel_source(panel)) for panel in self.panels])

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Writes the page, or the drawing where the name ends in .svg, .png or .pdf.

        Raises:
            SalverError: the name ends otherwise, or the file is there and `force` is false.
        """
        target = Path(path)
        refuse_picture(target, force=force)
        write_atomically(target, self._content(target.suffix.lower()))

    def _content(self, kind: str) -> str | bytes:
        if kind == ".html":
            return self.document
        if kind == ".svg":
            return self.svg
        import vl_convert

        return vl_convert.svg_to_png(self.svg, scale=2) if kind == ".png" else vl_convert.svg_to_pdf(self.svg)

    def _repr_html_(self) -> str:
        return self.fragment


def refuse_picture(path: Path, *, force: bool) -> None:
    """Refuses a file that no picture can be written to.

    Raises:
        SalverError: see `PointPicture.save`.
    """
    if path.suffix.lower() not in KINDS:
        raise SalverError("is no name of a picture", str(path), f"let it end in {' or '.join(KINDS)}")
    refuse_output(path, force=force, option="--force")


def panel_source(panel: Panel) -> str:
    """A picture as an address that holds it."""
    kind = "image/png" if panel.format == "png" else "image/svg+xml"
    return f"data:{kind};base64,{base64.b64encode(panel.data).decode()}"
