"""What lies over the panels, light and dark: notices of each kind, the command palette."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import pixels_of, settle
from tests.visual.conftest import BASELINES, SHARE, Matches, different_share
from var_studio.gui import theme
from var_studio.gui.actions import ACTIONS, SEPARATOR
from var_studio.gui.models.commands import Command
from var_studio.gui.widgets.notices import NoticeBar
from var_studio.gui.widgets.palette import CommandPalette

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)

WIDTH = 760


def note(bar: NoticeBar) -> None:
    bar.show_notice("note", "The session is saved.", "It is at /home/me/answers.vars.")


def warning(bar: NoticeBar) -> None:
    """A question: a button says yes, closing it is a no."""
    bar.show_notice(
        "warning",
        "The checkpoint ‘odd’ brings code of its own (modeling.py), which would run with all "
        "your rights.",
        "Run it only if you trust who wrote it.",
        action=QtWidgets.QPushButton("Run its code"),
    )


def error(bar: NoticeBar) -> None:
    bar.show_notice("error", "The image cannot be read.", "Open another one.")


def details(bar: NoticeBar) -> None:
    shown = bar.show_notice(
        "error",
        "The disk is full: the recording ends after 12 tokens.",
        "Free some room, then press Run again.",
        more="OSError: [Errno 28] No space left on device\n  while writing attention/0.12",
    )
    shown.details_button.click()


def all_kinds(bar: NoticeBar) -> None:
    """The newest first."""
    for show in (error, note, warning):
        show(bar)


def palette(over: QtWidgets.QWidget, typed: str) -> None:
    card = CommandPalette(over)
    commands = [
        Command(
            entry.menu,
            entry.text.replace("&", ""),
            lambda: None,
            ", ".join(entry.keys),
            enabled=entry.name not in ("redo", "follow_up"),
        )
        for entry in ACTIONS
        if entry.name != SEPARATOR
    ]
    card.open(commands)
    card.line.setText(typed)
    # A cursor blinks.
    over.setFocus()
    card.show()


CASES: dict[str, Callable[[QtWidgets.QWidget], object]] = {
    **{
        f"notice-{show.__name__.replace('_', '-')}": lambda over, show=show: show(NoticeBar(over))
        for show in (note, warning, error, details, all_kinds)
    },
    "palette": lambda over: palette(over, ""),
    "palette-found": lambda over: palette(over, "run"),
    "palette-nothing": lambda over: palette(over, "qqq"),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", CASES)
def test_it_looks_as_before(
    qtbot: QtBot,
    same_look: None,
    matches_baseline: Matches,
    name: str,
    scheme: theme.Scheme,
) -> None:
    app = QtWidgets.QApplication.instance()
    assert isinstance(app, QtWidgets.QApplication)
    app.setPalette(theme.palette(scheme))
    app.setStyleSheet(theme.stylesheet(theme.resolve(scheme)))
    over = QtWidgets.QWidget()
    qtbot.addWidget(over)
    over.resize(WIDTH, 400 if name.startswith("palette") else 230)
    over.show()
    CASES[name](over)
    settle()
    matches_baseline(pixels_of(over), f"{name}-{scheme}")


def test_kinds_and_themes_differ() -> None:
    """Negative control: a notice of another kind, or of the other theme, would be seen."""
    pictures = {
        name: np.asarray(Image.open(BASELINES / f"{name}.png").convert("RGB"))
        for name in ("notice-error-light", "notice-error-dark", "notice-warning-light")
    }
    light = pictures.pop("notice-error-light")
    assert all(different_share(light, other) > 2 * SHARE for other in pictures.values())
