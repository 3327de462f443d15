"""What a figure is drawn for: its width as printed, and the styles in force while it is drawn."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from var_studio import assets
from var_studio.errors import VarStudioError
from var_studio.figures.spec import WIDTHS, Width

LEAST_POINTS = 5.0
"""No text of a figure is printed smaller than this."""

_PAGE_HEIGHT = 9.2
_SLIDE_HEIGHT = 7.5
_UNITS = {"mm": 1 / 25.4, "cm": 1 / 2.54, "in": 1.0, "pt": 1 / 72}
_NARROWEST, _WIDEST = 2.75, 20.0
LENGTHS = f"a length of {_NARROWEST:g}in to {_WIDEST:g}in, such as 88mm"

# Text sizes that a style sets; those in words ("medium") follow font.size.
_SIZES = (
    "font.size",
    "axes.titlesize",
    "axes.labelsize",
    "xtick.labelsize",
    "ytick.labelsize",
    "legend.fontsize",
    "figure.titlesize",
)
# What no style may change: fonts that print, cells without loss, the same bytes, our own layout.
_KEPT = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "var-studio",
    "pdf.use14corefonts": False,
    "image.composite_image": False,
    "image.interpolation": "none",
    "text.usetex": False,
    "text.hinting": "no_hinting",
    "text.parse_math": True,
    "savefig.bbox": None,
    "savefig.pad_inches": 0.1,
    "figure.dpi": 100,
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "path.sketch": None,
}
# Settings of matplotlib's own windows and files.
_NO_STYLE = ("backend", "interactive", "toolbar", "webagg", "keymap", "tk.", "savefig.", "figure.")


class FigureError(VarStudioError):
    """A figure that cannot be drawn or written."""


@dataclass(frozen=True, slots=True)
class Page:
    """A width in `inches` as printed, the arrangement and style that go with it (`width`), and
    perhaps a matplotlib style file on top of ours."""

    width: Width
    inches: float
    style: Path | None = None

    @property
    def height(self) -> float:
        """The most that fits on one page or slide, in inches."""
        if self.width == "slide":
            return _SLIDE_HEIGHT * max(self.inches / WIDTHS["slide"], 1.0)
        return _PAGE_HEIGHT


def page_of(width: str | Page, style: str | os.PathLike[str] | None = None) -> Page:
    """A page from a name ("column", "two-columns", "slide") or a length ("88 mm", "3.5in").

    A length up to 4.6 inches is arranged as a column, up to 8.5 as two, above as a slide.
    Raises FigureError for any other word, and for a width that is no page's.
    """
    file = None if style is None else Path(style)
    if isinstance(width, Page):
        return width if file is None else Page(width.width, width.inches, file)
    for name, inches in WIDTHS.items():
        if width == name:
            return Page(name, inches, file)
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(mm|cm|in|pt)\s*", str(width))
    if match is None:
        raise FigureError(
            f"There is no width {width!r}.",
            f"Use {', '.join(WIDTHS)}, or {LENGTHS}.",
        )
    inches = float(match[1]) * _UNITS[match[2]]
    if not _NARROWEST <= inches <= _WIDEST:
        raise FigureError(f"{width} is no width of a figure.", f"Use {LENGTHS}.")
    form: Width = "column" if inches <= 4.6 else "two-columns" if inches <= 8.5 else "slide"
    return Page(form, inches, file)


@contextmanager
def styled(page: Page) -> Iterator[None]:
    """matplotlib's settings for this page, and as they were afterwards. Raises FigureError."""
    import matplotlib

    names = ["paper", "slide"] if page.width == "slide" else ["paper"]
    files = [assets.resource("styles", f"{name}.mplstyle") for name in names]
    # matplotlib's own defaults first, so that a user's matplotlibrc cannot change a figure.
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Which letters no font has is said in the figure itself.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        for file in files:
            matplotlib.rcParams.update(
                matplotlib.rc_params_from_file(file, use_default_template=False)
            )
        if page.style is not None:
            _add_style(page.style)
        in_force: Any = matplotlib.rcParams
        in_force.update(_KEPT)
        yield


def ignored_settings(path: Path) -> tuple[str, ...]:
    """What a style file sets otherwise than every figure needs it, and which so has no effect.
    Raises FigureError."""
    found = _read_style(path)
    kept = [name for name, value in _KEPT.items() if name in found and found[name] != value]
    left = [name for name in found if name.startswith(_NO_STYLE) and name not in _KEPT]
    return tuple(sorted([*kept, *left]))


def ignored_line(style: Path | None) -> str:
    """`ignored_settings` in a sentence; empty where all of a style is taken up."""
    ignored = () if style is None else ignored_settings(style)
    return f"{', '.join(ignored)} of {style} stayed as VAR Studio needs it." if ignored else ""


def _read_style(path: Path) -> dict[str, Any]:
    """The settings of a style file. Raises FigureError for one that is not valid."""
    import matplotlib

    if not path.is_file():
        raise FigureError(f"There is no style file {path}.", "Check the name given with --style.")
    complaints = _Complaints()
    logger = logging.getLogger("matplotlib")
    logger.addHandler(complaints)
    handed_on, logger.propagate = logger.propagate, False
    try:
        found = matplotlib.rc_params_from_file(path, use_default_template=False)
    except (OSError, ValueError) as error:
        raise FigureError(f"{path} is no matplotlib style: {error}.", "Mend the file.") from error
    finally:
        logger.removeHandler(complaints)
        logger.propagate = handed_on
    if complaints.said:
        raise FigureError(f"{path} is no matplotlib style: {complaints.said[0]}", "Mend the file.")
    settings: Any = found
    return dict(settings)


def _add_style(path: Path) -> None:
    """Put a person's own style file in force. Raises FigureError for one that is not valid."""
    import matplotlib
    from matplotlib.font_manager import font_scalings

    found = _read_style(path)
    in_force: Any = matplotlib.rcParams
    in_force.update({k: v for k, v in found.items() if not k.startswith(_NO_STYLE)})
    size = float(in_force["font.size"])
    for name in _SIZES:
        points = in_force[name]
        points = size * font_scalings[points] if points in font_scalings else float(points)
        if points < LEAST_POINTS:
            raise FigureError(
                f"{path} makes {name} {points:g} pt.",
                f"Text in a figure is at least {LEAST_POINTS:g} pt.",
            )


class _Complaints(logging.Handler):
    """What matplotlib finds wrong with a style file; it only logs it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(" ".join(record.getMessage().split()))
