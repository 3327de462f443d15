"""What the panels of words look like with two answers, light and dark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot

from tests.answers import PART, answered
from tests.gui.panel_stage import settle, stage
from tests.visual.conftest import BASELINES, SHARE, Matches, different_share
from tests.visual.pixels import unfocused
from var_studio.gui import theme
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.next_token import NextTokenPanel
from var_studio.gui.panels.transcript import TranscriptPanel
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)

CASES: dict[str, tuple[type[Panel], str, tuple[int, int]]] = {
    # name: panel, colour, size
    "transcript-pair": (TranscriptPanel, "probability", (760, 240)),
    "transcript-sinks": (TranscriptPanel, "sink_mass", (760, 240)),
    "transcript-change": (TranscriptPanel, "delta_logprob", (520, 260)),
    "transcript-reverse": (TranscriptPanel, "reverse", (760, 240)),
    "next-token": (NextTokenPanel, "probability", (560, 300)),
}


@pytest.fixture
def answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Recording, Recording, Recording]:
    return answered(tmp_path, monkeypatch, queries=40)


def picture_of(qtbot: QtBot, runs: tuple[Recording, ...], name: str, scheme: str) -> np.ndarray:
    """The panel of a case without its header: (height, width, 3) uint8."""
    kind, colour, size = CASES[name]
    QtWidgets.QApplication.setPalette(theme.palette(scheme))  # type: ignore[arg-type]
    panel = kind()
    baseline, *others = runs
    workspace = stage(qtbot, panel, baseline, size=size)
    for run in others:
        workspace.add_run(run, look=False)
    workspace.look_at(baseline, int(baseline.generated_positions[PART]))
    workspace.view.set(colour_by=colour)
    workspace.selection.select_cells([22, 23, 32, 33])
    settle()
    if isinstance(panel, TranscriptPanel):
        qtbot.waitUntil(lambda: panel.colours is not None and not panel.colours.reading)
    return unfocused(panel)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", CASES)
def test_panel_looks_as_before(
    qtbot: QtBot,
    same_look: None,
    answers: tuple[Recording, ...],
    matches_baseline: Matches,
    name: str,
    scheme: str,
) -> None:
    matches_baseline(picture_of(qtbot, answers, name, scheme), f"{name}-{scheme}")


def test_words_that_do_not_line_up_are_seen(
    qtbot: QtBot,
    same_look: None,
    answers: tuple[Recording, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: without the columns of the other answer the picture is another one."""
    monkeypatch.setattr(TranscriptPanel, "_align", lambda _: None)
    picture = picture_of(qtbot, answers, "transcript-pair", "light")
    baseline = np.asarray(Image.open(BASELINES / "transcript-pair-light.png").convert("RGB"))
    assert different_share(picture, baseline) > 2 * SHARE
