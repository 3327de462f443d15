"""The Transcript panel on a workspace with runs."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import stage
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.panels.transcript import TranscriptPanel
from var_studio.recording.recording import Recording

WIDE = (900, 260)


def shown(
    qtbot: QtBot, *runs: Recording, size: tuple[int, int] = WIDE
) -> tuple[TranscriptPanel, Workspace]:
    panel = TranscriptPanel()
    workspace = stage(qtbot, panel, *runs, size=size)
    return panel, workspace
