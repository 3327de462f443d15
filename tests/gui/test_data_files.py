"""What panels without a figure save as: CSV and JSON files, read back and compared."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot

from tests.answers import answered
from tests.gui.fixtures import IGNORE_QT, notices, press, settle, window  # noqa: F401
from tests.gui.panel_stage import cropped_run, stage
from var_studio.figures.data import load_settings as redistribution_of
from var_studio.gui.data_files import load_settings, settings_text
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.panels import PANELS
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.inspector import InspectorPanel
from var_studio.gui.panels.next_token import NextTokenPanel
from var_studio.gui.panels.regions import RegionsPanel
from var_studio.recording.recording import Recording

pytestmark = IGNORE_QT


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    return cropped_run(tmp_path / "run", monkeypatch)


def rows_of(panel: Panel) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(panel.data_text())))


@pytest.mark.parametrize("name", [entry.name for entry in PANELS])
def test_every_panel_has_the_same_three_buttons(qtbot: QtBot, name: str) -> None:
    (entry,) = (each for each in PANELS if each.name == name)
    panel = entry.kind()()
    stage(qtbot, panel)
    header = panel.header
    for button in (header.copy_button, header.export_button, header.help_button):
        assert button.isVisible() and button.toolTip() and button.accessibleName()
    assert bool(panel.figure_name) != bool(panel.data_file), "one thing to export"


def test_the_token_map_as_it_is_listed(qtbot: QtBot, run: Recording) -> None:
    panel = InspectorPanel()
    workspace = stage(qtbot, panel, run)
    panel.keep.button("sinks").click()
    rows = rows_of(panel)
    assert workspace.reading is not None
    sinks = np.flatnonzero(workspace.reading.visual_sinks)
    assert [int(row["Token"]) for row in rows] == sinks.tolist() and len(rows)
    alpha = workspace.reading.map_before
    for row in rows:
        assert float(row["α"]) == pytest.approx(float(alpha[int(row["Token"])]), rel=1e-6)


def test_regions_and_what_lies_in_them(qtbot: QtBot, run: Recording) -> None:
    panel = RegionsPanel()
    workspace = stage(qtbot, panel, run)
    workspace.regions.add((3, 4, 12), "cup")
    workspace.regions.add((20,), "plate")
    settle(qtbot)
    rows = rows_of(panel)
    assert [row["region"] for row in rows] == ["cup", "plate"]
    assert workspace.reading is not None
    assert rows[0]["visual_tokens"] == "3 4 12" and rows[0]["tokens_inside"] == "3"
    before = sum(float(workspace.reading.map_before[k]) for k in (3, 4, 12))
    assert float(rows[0]["alpha_before"]) == pytest.approx(before, rel=1e-6)


def test_candidates_of_the_word(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline, second, _ = answered(tmp_path, monkeypatch, layers=2, heads=2)
    panel = NextTokenPanel()
    workspace = stage(qtbot, panel, baseline, second)
    at = int(baseline.generated_positions[1])
    workspace.look_at(baseline, at)
    settle(qtbot)
    rows = rows_of(panel)
    before = {a.id: a.logprob for a in baseline.tokens[at].top}
    after = {a.id: a.logprob for a in second.tokens[int(second.generated_positions[1])].top}
    assert {int(row["token"]) for row in rows} == {*before, *after}
    for row in rows:
        for side, known in (("before", before), ("after", after)):
            written = row[f"logprob_{side}"]
            assert (written == "") == (int(row["token"]) not in known)
            if written:
                assert float(written) == pytest.approx(known[int(row["token"])], rel=1e-6)


def changed_settings(workspace: Workspace) -> None:
    workspace.method.set(tau=3.21, rho=0.707, p=0.4, convention="released-code", last_layer=3)
    workspace.generation.set(max_new_tokens=7, temperature=0.3)
    workspace.interventions.set_acting("contrast", True)


def test_settings_load_back(qtbot: QtBot, tmp_path: Path) -> None:
    one, other = Workspace(), Workspace()
    changed_settings(one)
    path = tmp_path / "settings.json"
    path.write_text(settings_text(one), encoding="utf-8")
    assert settings_text(other) != settings_text(one)
    load_settings(other, path)
    assert settings_text(other) == settings_text(one)
    assert redistribution_of(path) == one.method.stored, "the command line reads it too"
    before = other.undo_stack.index()
    other.undo_stack.undo()
    assert other.undo_stack.index() == before - 1 and other.method.stored.rho == 0.8
    document = json.loads(path.read_text(encoding="utf-8"))
    for broken in ("{", "[]", json.dumps(document | {"generation": {"max_new_tokens": "many"}})):
        path.write_text(broken, encoding="utf-8")
        unchanged = settings_text(other)
        with pytest.raises(Exception, match=r"settings\.json holds no"):
            load_settings(other, path)
        assert settings_text(other) == unchanged


def test_buttons_and_menu_of_the_window(
    window: MainWindow,  # noqa: F811
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dialogs = QtWidgets.QFileDialog
    path = tmp_path / "mine"
    monkeypatch.setattr(dialogs, "getSaveFileName", lambda *_, **__: (str(path), ""))
    monkeypatch.setattr(dialogs, "getOpenFileName", lambda *_, **__: (f"{path}.json", ""))
    changed_settings(window.workspace)
    saved = settings_text(window.workspace)
    press(qtbot, window.setup.header.export_button)
    assert path.with_suffix(".json").read_text(encoding="utf-8") == saved
    assert any("Saved mine.json" in said for said in notices(window))
    window.workspace.method.set_all_default()
    window.actions_by_name["load_settings"].trigger()
    assert settings_text(window.workspace) == saved
    window.export_panel(window.area.panel("regions"))
    assert any("no region" in said for said in notices(window))
