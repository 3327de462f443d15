"""Line icons, drawn here: an icon font costs a third of the time to the first window."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QRectF, Qt, qAddPostRoutine
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from var_studio.gui import theme

# Paths on a 24 × 24 grid, stroked with round ends.
_PATHS = {
    "copy": "M9 9h10v11H9z M15 9V4H5v11h4",
    "export": "M12 15V3.5 M7.5 8 12 3.5 16.5 8 M5 13v7h14v-7",
    "help": "M12 3a9 9 0 1 0 0 18 9 9 0 1 0 0-18 M9.3 9.6a2.8 2.8 0 1 1 4 2.5c-.9.5-1.3 1-1.3 2"
    " M12 17.2v.1",
    "run": "M7 4.5 19 12 7 19.5z",
    "run-var": "M4 5 13 12 4 19z M13 5l8 7-8 7",
    "stop": "M6 6h12v12H6z",
    "open": "M3.5 19V5.5H9l2 2.5h8.5V11 M3.5 19 6 11h16l-2.5 8z",
    "image": "M4 5h16v14H4z M4 16l5-5 4 4 3-2.5 4 3.5 M15.5 9.2v.1",
    "close": "M6 6l12 12 M18 6 6 18",
    "more": "M6 9l6 6 6-6",
    "less": "M6 15l6-6 6 6",
    "earlier": "M15 5 8 12l7 7",
    "later": "M9 5l7 7-7 7",
    "pair": "M4 5 11 12 4 19z M13 5l7 7-7 7z",
    "undo": "M8 5 4 9l4 4 M4 9h10a5.5 5.5 0 0 1 0 11H9",
    "redo": "M16 5l4 4-4 4 M20 9H10a5.5 5.5 0 0 0 0 11h5",
    "warning": "M12 4 21 19.5H3z M12 10v4.5 M12 17v.1",
    "note": "M12 3a9 9 0 1 0 0 18 9 9 0 1 0 0-18 M12 11v6 M12 7.6v.1",
    "paste": "M8 5H5v16h14V5h-3 M8 3h8v4H8z",
    "select": "M6 3.5 18 13l-5.6.7 3 5.6-2.4 1.2-2.9-5.7L6 19z",
    "rectangle": "M4 6h16v12H4z",
    "brush": "M20 4 10.5 13.5 M8.5 13a3.6 3.6 0 0 0-3.4 3.4c-.1 1.6-.8 2.6-2 3.3 3 .9 8.4.6 8.9-3.2"
    "A3.6 3.6 0 0 0 8.5 13z",
    "erase": "M9 19.5 3.5 14 13.5 4 20.5 11 12 19.5z M8.5 9l7 7 M9 19.5h11",
    "find": "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 1 0 0-13 M15.3 15.3 20.5 20.5",
    "reset": "M5 12a7 7 0 1 0 2.2-5.1 M7 3v4h4",
}


# Widgets ask again at each change of palette. Emptied with the application: a pixmap that
# outlives it is an error.
_drawn: dict[tuple[str, str, bool], QIcon] = {}


def icon(name: str, colour: str | None = None) -> QIcon:
    """The icon of that name in the theme's text colour (or `colour`, "#rrggbb"), any size."""
    present = theme.colours()
    key = (name, colour or "", present.dark)
    if key in _drawn:
        return _drawn[key]
    if not _drawn:
        qAddPostRoutine(_drawn.clear)
    result = QIcon()
    for mode, stroke in (
        (QIcon.Mode.Normal, colour or present.text_dim),
        (QIcon.Mode.Active, colour or present.text),
        (QIcon.Mode.Disabled, present.border),
    ):
        for size in (16, 32):
            result.addPixmap(_draw(_PATHS[name], stroke, size), mode)
    _drawn[key] = result
    return result


def _draw(path: str, colour: str, size: int) -> QPixmap:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">'
        f'<path d="{path}" fill="none" stroke="{QColor(colour).name()}" stroke-width="1.7" '
        'stroke-linecap="round" stroke-linejoin="round"/></svg>'
    )
    pixmap = QPixmap(size, size)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(0, 0, size, size))
    painter.end()
    return pixmap
