"""Draws a figure with matplotlib's object API: PDF, SVG or PNG, byte for byte alike.

The layout is computed here in inches rather than by matplotlib, so that panels keep the picture's
geometry and a column stays a column.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from var_studio.figures import fonts
from var_studio.figures.measure import wrapped
from var_studio.figures.page import FigureError, Page, page_of, styled
from var_studio.figures.row import Row, measure, split
from var_studio.figures.spec import BOS_COLOUR, ColourScale, Figure, Panel
from var_studio.figures.svg import finish

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

__all__ = ["FORMATS", "FigureError", "render", "save", "to_bytes", "write_whole"]

FORMATS = ("pdf", "svg", "png")

_TITLE, _NOTE = 1.2, 0.9
"""Sizes of a figure's title and notes, in widths of a letter."""
_LOWEST = 0.5
"""So much of their height panels may lose before a figure breaks into pages."""


def render(figure: Figure, width: str | Page = "two-columns") -> Drawing:
    """Return the matplotlib Figure of a spec, at its printed size. Raises FigureError.

    For a notebook: one drawing, however tall. Write files with `save`: matplotlib's own settings
    at the time of saving would decide about fonts.
    """
    page = page_of(width)
    with styled(page), _letters(figure) as shown:
        return _whole(shown, page)


def to_bytes(
    figure: Figure, suffix: str, *, width: str | Page = "two-columns", dpi: int = 300
) -> bytes:
    """The file's content. `suffix` is pdf, svg or png; `dpi` counts for PNG, and for pictures.

    `width` is a name, a length or a `Page`: see `page_of`. A figure that is taller than a page
    breaks into pages as PDF; as SVG or PNG it is one tall picture that says so. The same figure
    gives the same bytes: no dates, no random names. Raises FigureError.
    """
    if suffix not in FORMATS:
        raise FigureError(f"Figures cannot be written as {suffix!r}.", "Use .pdf, .svg or .png.")
    if not 10 <= dpi <= 2400:
        raise FigureError(f"{dpi} dpi is out of range.", "Choose 10 to 2400.")
    page = page_of(width)
    buffer = io.BytesIO()
    with styled(page), _letters(figure) as shown:
        about = _metadata(figure, suffix)
        if suffix == "pdf":
            from matplotlib.backends.backend_pdf import PdfPages

            with PdfPages(buffer, metadata=about) as pages:
                for drawing in _pages(shown, page):
                    pages.savefig(drawing, dpi=dpi)
        else:
            drawing = _whole(shown, page)
            drawing.savefig(buffer, format=suffix, dpi=dpi, metadata=about)
            if suffix == "svg":
                return finish(buffer.getvalue())
    return buffer.getvalue()


def save(
    figure: Figure,
    path: str | os.PathLike[str],
    *,
    width: str | Page = "two-columns",
    dpi: int = 300,
) -> Path:
    """Write the figure; the format follows from the name. Returns the path. Raises FigureError."""
    path = Path(path)
    content = to_bytes(figure, path.suffix.lower().lstrip("."), width=width, dpi=dpi)
    return write_whole(path, content)


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file completely or not at all. Raises FigureError."""
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        with suppress(OSError):  # a read-only disk refuses this too
            beside.unlink(missing_ok=True)
        raise FigureError(
            f"{path} cannot be written: {error.strerror or error}.", "Choose another place."
        ) from error
    return path


@contextmanager
def _letters(figure: Figure) -> Iterator[Figure]:
    """Add fonts for letters that the style's own lacks; the figure says which no font has."""
    import matplotlib

    missing = fonts.missing_letters(figure)
    if not missing:
        yield figure
        return
    family = [*matplotlib.rcParams["font.family"], *fonts.fallbacks(missing)]
    with matplotlib.rc_context({"font.family": family}):
        line = fonts.missing_line(fonts.missing_letters(figure))
        yield replace(figure, notes=(*figure.notes, line)) if line else figure


def _whole(figure: Figure, page: Page) -> Drawing:
    """The figure in one drawing; one that is taller than a page says so."""
    layout = _Layout(figure, page)
    rows = layout.together()
    height = layout.height(rows)
    if height > page.height:
        count = len(layout.paged())
        pages = f"the PDF breaks it into {count} pages" if count > 1 else "it is one row"
        line = f"{height:.1f} inches tall, more than a page: {pages}."
        layout = _Layout(replace(figure, notes=(*figure.notes, line)), page)
    return layout.drawn(rows, "")


def _pages(figure: Figure, page: Page) -> Iterator[Drawing]:
    layout = _Layout(figure, page)
    found = layout.paged()
    for number, rows in enumerate(found, start=1):
        yield layout.drawn(rows, f" ({number} of {len(found)})" if len(found) > 1 else "")


class _Layout:
    """Title, rows of panels and notes of one figure on one page after the other; in inches."""

    def __init__(self, figure: Figure, page: Page) -> None:
        import matplotlib

        if not any(figure.rows):
            raise FigureError("There is nothing to draw in this figure.")
        self.figure, self.page = figure, page
        self.em = em = float(matplotlib.rcParams["font.size"]) / 72
        self.margin, self.gap = 0.6 * em, 1.1 * em
        self.inner = page.inches - 2 * self.margin
        # Room for the number of the page, so that no page breaks the title elsewhere.
        room = self.inner - (4.5 * em if len(figure.rows) > 1 else 0)
        self.title = wrapped(figure.title, room, _TITLE * em) if figure.title else []
        self.notes = [
            line for note in figure.notes for line in wrapped(note, self.inner, _NOTE * em)
        ]
        lines = len(self.title)
        self.head = self.margin + (lines * 1.55 * em + 0.2 * em if lines else 0)
        self.foot = self.margin + (len(self.notes) * 1.3 * em + 0.5 * em if self.notes else 0)
        self.room = page.height - self.head - self.foot

    def measured(self, rows: Sequence[tuple[Panel, ...]], highest: float = math.inf) -> list[Row]:
        """Rows as they are drawn under each other, no panel higher than `highest`; a scale has its
        bar under the last of them."""
        found: list[Row] = []
        below: list[ColourScale] = []
        for panels in reversed(rows):
            row = measure(panels, self.inner, self.gap, self.em, self.room, tuple(below), highest)
            below += [scale for scale in row.scales if scale not in below]
            found.insert(0, row)
        return found

    def height(self, rows: Sequence[Row]) -> float:
        height = self.head + self.foot + sum(row.height for row in rows)
        height += self.gap * max(len(rows) - 1, 0)
        if not math.isfinite(height):
            raise FigureError("There is nothing to draw in this figure.")
        return height

    def together(self) -> list[Row]:
        """All rows under each other, as low as lets them fit on a page, but no lower than that a
        reader can make them out."""
        rows = self.measured(self.figure.rows)
        if self.height(rows) <= self.page.height:
            return rows
        natural = max((row.inner_height for row in rows if not row.is_text), default=0.0)
        low, high = _LOWEST, 1.0
        squeezed = self.measured(self.figure.rows, low * natural)
        if self.height(squeezed) > self.page.height:
            return rows
        for _ in range(12):
            middle = (low + high) / 2
            found = self.measured(self.figure.rows, middle * natural)
            if self.height(found) <= self.page.height:
                low, squeezed = middle, found
            else:
                high = middle
        return squeezed

    def paged(self) -> list[list[Row]]:
        """The rows of each page. Text breaks between lines, pictures between rows."""
        whole = self.together()
        if self.height(whole) <= self.page.height:
            return [whole]
        pages: list[list[Row]] = []
        left = list(self.figure.rows)
        while left:
            fits = next(
                (n for n in range(len(left), 0, -1) if self._fit(left[:n])),
                0,
            )
            here, left = left[:fits], left[fits:]
            if left and len(left[0]) == 1:
                used = (
                    self.height(self.measured(here)) + self.gap if here else self.head + self.foot
                )
                # A line or two at the foot of a page are no use to a reader.
                room = self.page.height - used
                if room > 6 * self.em or not here:
                    halves = split(left[0][0], self.inner, self.em, room)
                    if halves is not None:
                        here, left = [*here, (halves[0],)], [(halves[1],), *left[1:]]
            if not here:
                here, left = left[:1], left[1:]  # one row that is taller than a page
            pages.append(self.measured(here))
        return self._accompanied(pages)

    def _accompanied(self, pages: list[list[Row]]) -> list[list[Row]]:
        """The same pages; a last one of few words takes a row of pictures from the one before."""
        if len(pages) < 2 or not all(row.is_text for row in pages[-1]):
            return pages
        moved = next((n for n, row in enumerate(pages[-2]) if row.is_text), len(pages[-2])) - 1
        last = [row.panels for row in (*pages[-2][moved:], *pages[-1])]
        if moved < 1 or pages[-2][moved + 1 :] or not self._fit(last):
            return pages
        before = [row.panels for row in pages[-2][:moved]]
        return [*pages[:-2], self.measured(before), self.measured(last)]

    def _fit(self, rows: Sequence[tuple[Panel, ...]]) -> bool:
        return self.height(self.measured(rows)) <= self.page.height

    def drawn(self, rows: Sequence[Row], number: str) -> Drawing:
        from matplotlib.figure import Figure as Drawing

        width, height, em = self.page.inches, self.height(rows), self.em
        drawing = Drawing(figsize=(width, height))
        for index, line in enumerate(self.title):
            y = height - self.margin - index * 1.55 * em
            last = number if index == len(self.title) - 1 else ""
            _text(drawing, self.margin, y, line + last, width, height, _TITLE * em)
        for index, line in enumerate(reversed(self.notes)):
            y = self.margin + (index + 1) * 1.3 * em
            _text(drawing, self.margin, y, line, width, height, _NOTE * em, colour="#4d4d4d")
        top = height - self.head
        for row in rows:
            row.draw(drawing, self.margin, top, width, height)
            top -= row.height + self.gap
        return drawing


def _text(
    drawing: Drawing,
    x: float,
    y: float,
    line: str,
    width: float,
    height: float,
    em: float,
    colour: str = BOS_COLOUR,
) -> None:
    text = drawing.text(
        x / width, y / height, line, ha="left", va="top", fontsize=em * 72, color=colour
    )
    text.set_parse_math(False)


def _metadata(figure: Figure, suffix: str) -> dict[str, str | None]:
    settings = json.dumps(dict(figure.metadata), sort_keys=True, ensure_ascii=True)
    if suffix == "pdf":
        plain = {"Title": figure.title, "Subject": settings, "Creator": "VAR Studio"}
        return {**plain, "CreationDate": None}
    if suffix == "svg":
        plain = {"Title": figure.title, "Description": settings, "Creator": "VAR Studio"}
        return {**plain, "Date": None}
    return {"Title": figure.title, "Description": settings, "Software": "VAR Studio"}
