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
from tests.gui.fixtures import IGNORE_QT, notices, press, settle
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
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def exported(window: MainWindow, qtbot: QtBot, figure: str, folder: Path) -> Path:
    """Export what is on screen; the settings file."""
    from var_studio.gui.export import ask_export

    dialog = ask_export(window, window.workspace, figure)
    assert dialog is not None
    dialog.file.setText(str(folder / figure))
    dialog.formats["png"].setChecked(False)
    press(qtbot, dialog.export_button)
    settle(qtbot)
    return folder / f"{figure}.json"


def on_screen(workspace: Workspace) -> dict[str, object]:
    """What a figure is made of."""
    view, selection = workspace.view.current, workspace.selection
    assert workspace.reading is not None and workspace.run is not None
    pair = (workspace.baseline, workspace.paired)
    return {
        "method": workspace.method.current,
        "view": {name: getattr(view, name) for name in SHOWN},
        "word": (workspace.run.id, workspace.reading.position, selection.layer, selection.heads),
        "row": (selection.position, selection.row_of),
        "pair": [None if run is None else run.id for run in pair],
    }


SHOWN = (
    "quantity", "sinks_boxed", "hide_sinks", "opacity", "colour_map", "difference_map", "smooth",
    "scale", "robust", "gamma", "aggregate", "compare",
)  # fmt: skip


def test_a_figure_s_settings_bring_back_what_it_showed(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = window.workspace
    baseline, second, forced = answered(tmp_path, monkeypatch)
    for run in (baseline, second, forced):
        workspace.add_run(run, look=run.teacher is None)
    at = int(second.generated_positions[2])

    def distort() -> None:
        workspace.look_at(baseline, int(baseline.generated_positions[0]))
        workspace.selection.set_row_of("query")
        workspace.selection.select_heads((), 1)
        workspace.view.set(
            quantity="attention", sinks_boxed=True, hide_sinks=False, opacity=0.65,
            colour_map="inferno", difference_map="RdBu_r", smooth=False, scale="map", robust=True,
            gamma=1.0, aggregate="mean", compare="local",
        )  # fmt: skip
        workspace.method.set_all_default()
        settle(qtbot)

    def show_all_else(compare: str) -> None:
        workspace.look_at(second, at)
        workspace.selection.set_row_of("produced")
        workspace.selection.select_heads([(1, 2), (4, 0)], 4)
        workspace.view.set(
            quantity="contribution", sinks_boxed=False, hide_sinks=True, opacity=0.35,
            colour_map="magma", smooth=True, scale="token", robust=False, gamma=0.4,
            aggregate="max", compare=compare,
        )  # fmt: skip
        workspace.method.set(tau=3.5, rho=0.31, p=0.77, last_layer=3, source="visual")
        settle(qtbot)

    panels = (dock.panel for dock in window.area.docks.values())
    figures = [(panel.figure_name, "local") for panel in panels if panel.figure_name]
    figures += [("map", "run")]
    for figure, compare in figures:
        if figure == "answers":
            continue
        distort()
        plain = on_screen(workspace)
        show_all_else(compare)
        shown = on_screen(workspace)
        folder = tmp_path / compare
        folder.mkdir(exist_ok=True)
        path = exported(window, qtbot, figure, folder)
        assert path.exists(), figure
        distort()
        load_settings(workspace, path)
        settle(qtbot)
        found = on_screen(workspace)
        assert all(found[each] == shown[each] for each in ("word", "row", "method")), figure
        if figure == "map":  # other figures do not say how maps are shown
            assert found == shown
        workspace.undo_stack.undo()
        settle(qtbot)
        assert on_screen(workspace)["method"] == plain["method"]


def test_a_region_comes_back_as_the_target_it_was(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = window.workspace
    workspace.add_run(cropped_run(tmp_path / "run", monkeypatch))
    cup = workspace.regions.add((3, 4, 12), "cup")
    workspace.method.set_target("region")
    settle(qtbot)
    path = exported(window, qtbot, "ledger", tmp_path)
    workspace.regions.add((20, 21), "plate")
    settle(qtbot)
    assert workspace.method.current.region == (20, 21), "the target follows what is painted"
    load_settings(workspace, path)
    assert workspace.method.current.region == (3, 4, 12)
    assert workspace.regions.active is not None and workspace.regions.active.name == cup
    workspace.regions.remove(cup)
    assert workspace.method.current.region == (20, 21)
    load_settings(workspace, path)
    settle(qtbot)
    assert workspace.reading is not None
    assert workspace.reading.settings.region == (3, 4, 12), "a region that was removed is made anew"


def test_settings_of_a_run_that_is_not_open_here(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, run: Recording
) -> None:
    workspace = window.workspace
    workspace.add_run(run)
    workspace.method.set(rho=0.35)
    workspace.view.set(gamma=0.5)
    settle(qtbot)
    path = exported(window, qtbot, "map", tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    document["drawing"]["run_id"] = "another"
    path.write_text(json.dumps(document), encoding="utf-8")
    workspace.method.set_all_default()
    workspace.view.set(gamma=1.0)
    before = on_screen(workspace)["word"]
    load_settings(workspace, path)
    settle(qtbot)
    assert workspace.method.stored.rho == 0.35 and workspace.view.current.gamma == 0.5
    assert on_screen(workspace)["word"] == before
    document["drawing"]["options"] = {"gamma": "much"}
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(Exception, match="makes no sense"):
        load_settings(workspace, path)


def test_the_picture_and_its_tile_come_back(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.synthetic import make_run
    from var_studio.gui.panels.image import ImagePanel
    from var_studio.recording.layout import View, VisualLayout

    run = make_run(tmp_path / "run", rows=5, cols=8)
    grids = [np.arange(4), 4 + np.arange(8), 12 + np.arange(8), 20 + np.arange(20)]
    views = (
        View("thumbnail", 0, (0.0, 0.0, 320.0, 240.0), grids[0].reshape(2, 2)),
        View("tile 1", 0, (0.0, 0.0, 160.0, 240.0), grids[1].reshape(4, 2)),
        View("tile 2", 0, (160.0, 0.0, 320.0, 240.0), grids[2].reshape(4, 2)),
        View("image", 1, (0.0, 0.0, 320.0, 240.0), grids[3].reshape(4, 5)),
    )
    layout = VisualLayout(
        ((320, 240), (320, 240)), run.layout.positions, views, run.layout.boxes, ((), ())
    )
    monkeypatch.setattr(type(run), "layout", property(lambda _: layout))
    whole = run.image(0)
    monkeypatch.setattr(type(run), "image", lambda *_: whole)
    monkeypatch.setattr(type(run), "has_image", lambda *_: True)
    window.workspace.add_run(run)
    settle(qtbot)
    panel = window.area.panel("image")
    assert isinstance(panel, ImagePanel) and len(panel.part.scenes) == 3
    for index in (2, 0, 1):
        panel.part.setCurrentIndex(index)
        panel.part.activated.emit(index)
        settle(qtbot)
        folder = tmp_path / str(index)
        folder.mkdir()
        path = exported(window, qtbot, "map", folder)
        panel.part.setCurrentIndex((index + 1) % 3)
        panel.part.activated.emit((index + 1) % 3)
        dialogs = QtWidgets.QFileDialog
        monkeypatch.setattr(
            dialogs, "getOpenFileName", lambda *_, chosen=str(path), **__: (chosen, "")
        )
        window.load_settings()
        settle(qtbot)
        assert panel.part.currentIndex() == index


def test_answers_without_settings_bring_back_their_runs_alone(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests import answers
    from var_studio.figures.export import export_figure
    from var_studio.recording.settings import Knockout

    workspace = window.workspace
    baseline, second, _ = answered(tmp_path, monkeypatch)
    hidden = answers._run(
        tmp_path / "k", monkeypatch, answers._SECOND, 2, intervention=Knockout(), name="hidden"
    )
    for run in (baseline, hidden, second):
        workspace.add_run(run)
    out = tmp_path / "a.svg"
    export_figure(baseline, "answers", out, compare_with=hidden, with_data=True)
    workspace.method.set(rho=0.31)
    settle(qtbot)
    assert workspace.paired is second
    load_settings(workspace, out.with_suffix(".json"))
    settle(qtbot)
    assert (workspace.baseline, workspace.paired) == (baseline, hidden)
    assert workspace.method.current.rho == 0.31
