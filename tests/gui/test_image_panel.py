"""The Image panel: true geometry under the pointer, the right maps, the right words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import cropped_run, settle, stage
from tests.gui.pointer import move_mouse
from tests.synthetic import make_run
from var_studio.gui.panels.cell_words import change_text
from var_studio.gui.panels.image import BEFORE_NOTE, MOMENTS, ImagePanel
from var_studio.gui.panels.image_maps import (
    GLOBAL,
    LOCAL,
    NO_MATCH,
    NO_PAIR,
    NOTHING_MOVES,
    Maps,
)
from var_studio.gui.widgets.colour_bar import ColourBar
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)
LEFT = QtCore.Qt.MouseButton.LeftButton


def test_local_after_is_the_redistributed_row_of_the_heads_shown(
    qtbot: QtBot, run: Recording
) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    settings = workspace.method.current
    query = workspace.query
    assert query is not None
    layer, head = (int(i) for i in np.argwhere(run.image_centric(query, settings)[1:-1])[0])
    workspace.selection.select_head(layer + 1, head)
    workspace.view.set(shown="all")
    settle()
    positions = run.layout.positions
    before = run.attention(query, layer + 1, head)[positions]
    after = run.redistributed(query, settings, layer + 1, head)[positions]
    maps = panel._maps
    assert maps is not None and maps.after is not None
    assert np.abs(after - before).max() > 1e-4, "this head must move something"
    np.testing.assert_allclose(maps.before, before, rtol=1e-5)
    np.testing.assert_allclose(maps.after, after, rtol=1e-4, atol=1e-8)
    assert panel.note.text() == LOCAL
    scale = panel.views["difference"]._scale
    assert scale.low == -scale.high < 0
    assert panel.views["before"]._scale == panel.views["after"]._scale


def test_words_say_when_nothing_moves(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    assert panel.note.text() == BEFORE_NOTE
    # The last layer is never touched (Sec. 6.1).
    workspace.selection.select_head(run.n_layers - 1, 0)
    workspace.view.set(shown="after")
    settle()
    assert panel.note.text() == NOTHING_MOVES


def test_global_compares_with_the_row_that_the_second_run_used(
    qtbot: QtBot, run: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    intervention = Redistribution(tau=run.tau_default, p=0.9, rho=0.3)
    second = cropped_run(
        tmp_path / "second", monkeypatch, name="with VAR", intervention=intervention
    )
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run, second)
    assert workspace.baseline is run and workspace.paired is second
    workspace.view.set(compare="run", shown="all")
    settle()
    query, position = workspace.query, workspace.selection.position
    assert query is not None and position is not None
    same = second.query_of(position)
    assert same is not None
    used = second.redistributed(same, intervention)[..., second.layout.positions]
    maps = panel._maps
    assert maps is not None and maps.after is not None
    np.testing.assert_allclose(maps.after, used.mean(axis=(0, 1)), rtol=1e-4, atol=1e-8)
    assert np.abs(maps.after - maps.before).max() > 1e-4
    assert panel.note.text().startswith(GLOBAL.format(what="VAR"))
    assert panel.grid._captions["after"].text() == panel.compare.currentText() == "Run with VAR"
    # Seen from the second run it is the same comparison.
    workspace.look_at(second, position)
    settle()
    assert panel._maps is not None and panel._maps.after is not None
    np.testing.assert_allclose(panel._maps.after, maps.after, rtol=1e-5)
    np.testing.assert_allclose(panel._maps.before, maps.before, rtol=1e-5)


def test_without_a_second_run_the_panel_says_what_to_do(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    workspace.view.set(compare="run", shown="after")
    settle()
    assert panel.note.text() == NO_PAIR
    assert "Run pair" in NO_PAIR


def test_one_sink_does_not_black_out_the_rest(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    reading = workspace.reading
    assert reading is not None
    layer = workspace.selection.layer
    # A head that gives its sinks the most.
    head = int(np.argmax(reading.sink_mass[layer] * reading.visual_mass[layer]))
    workspace.selection.select_head(layer, head)
    settle()
    maps = panel._maps
    assert maps is not None and maps.sinks_before.any()
    others = maps.before[~maps.sinks_before]
    robust = panel.views["before"]._scale.high
    assert robust <= others.max()
    workspace.view.set(robust=False)
    settle()
    full = panel.views["before"]._scale.high
    assert full == pytest.approx(float(max(maps.before.max(), maps.after.max())))
    workspace.view.set(hide_sinks=True)
    settle()
    assert np.isnan(panel.views["before"]._values[maps.sinks_before]).all()
    assert np.isfinite(panel.views["before"]._values[~maps.sinks_before]).all()


def test_a_scale_shared_by_all_tokens_never_shrinks(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    workspace.view.set(scale="shared")
    settle()
    highs = []
    for position in workspace.selection.positions:
        workspace.selection.select_token(position)
        settle()
        highs.append(panel.views["before"]._scale.high)
    assert highs == sorted(highs)
    assert highs[-1] > highs[0], "tokens differ, so the scale must have grown"
    workspace.view.set(scale="map")
    settle()
    assert panel.views["before"]._scale.high < highs[-1]


def test_unknown_geometry_is_a_strip_and_says_so(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    strange = replace(run.layout, known=False, views=(), _cell_of={})
    monkeypatch.setattr(Recording, "layout", property(lambda run: strange))
    panel = ImagePanel()
    stage(qtbot, panel, run)
    assert panel.note.text().startswith("Geometry unknown: shown as a strip")
    view = panel.views["before"]
    assert view.scene() is not None and view.scene().strip
    # 80 tokens in rows of 48: the second of the second row is token 49.
    scale = min(view.width() / 480, view.height() / 20)
    left, top = (view.width() - scale * 480) / 2, (view.height() - scale * 20) / 2
    move_mouse(view, QtCore.QPointF(left + 15 * scale, top + 15 * scale))
    assert panel.hover.text().startswith("visual token 49 ")
    assert "pixels" not in panel.hover.text()


def test_title_names_token_layer_head_and_row(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    workspace.selection.select_head(3, 2)
    settle()
    position = workspace.selection.position
    assert position is not None
    word = run.tokens[position].text.strip()
    assert panel.subject.text() == f"‘{word}’ (position {position}) · layer 3 · head 2 · as query"
    workspace.selection.set_row_of("produced")
    settle()
    assert panel.subject.text().endswith("step that produced it")
    workspace.selection.select_all()
    settle()
    assert "mean over all 20 heads" in panel.subject.text()


def test_repaints_once_for_many_changes_and_not_while_hidden(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, make_run(tmp_path / "run"))
    seen = []
    original = panel.refresh
    monkeypatch.setattr(panel, "refresh", lambda reading: (seen.append(1), original(reading)))
    workspace.selection.step_token(1)
    workspace.selection.step_layer(1)
    workspace.method.set(p=0.3)
    settle()
    assert len(seen) == 1
    panel.hide()
    workspace.selection.step_token(1)
    settle()
    assert len(seen) == 1
    panel.show()
    settle()
    assert len(seen) == 2


def test_empty_state_is_a_sentence(qtbot: QtBot) -> None:
    panel = ImagePanel()
    stage(qtbot, panel)
    assert panel._stack.currentWidget() is panel._empty
    assert panel._empty.text().endswith(".")


def test_controls_change_what_they_say(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    controls, view = panel.controls, workspace.view
    qtbot.mouseClick(controls.sinks, LEFT)
    assert not view.current.sinks_boxed and panel.views["before"]._sinks is None
    qtbot.mouseClick(controls.smooth, LEFT)
    qtbot.mouseClick(controls.hide_sinks, LEFT)
    controls.opacity.setValue(30)
    controls._choices["colour_map"]["cividis"].trigger()
    controls._choices["scale"]["token"].trigger()
    controls.robust.trigger()
    current = view.current
    assert (current.smooth, current.hide_sinks, current.opacity) == (True, True, 0.3)
    assert (current.colour_map, current.scale, current.robust) == ("cividis", "token", False)
    qtbot.mouseClick(panel.shown.button("difference"), LEFT)
    assert view.current.shown == "difference"
    assert panel.views["difference"].isVisible() and not panel.views["before"].isVisible()
    # And back: the controls follow the settings, e.g. of a session or of a key.
    view.toggle_sinks()
    view.set(shown="after", opacity=0.9)
    assert controls.sinks.isChecked() and controls.opacity.value() == 90
    assert panel.shown.button("after").isChecked()


def test_the_picture_to_copy_leaves_the_controls_out(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    workspace.view.set(shown="all")
    settle()
    picture = panel.picture()
    assert panel.body is not None
    assert 0.5 * panel.body.height() < picture.height() < panel.body.height() - 40
    assert picture.width() > 0.9 * panel.body.width()


def test_words_of_answers_that_part_are_matched_or_said_to_differ(
    qtbot: QtBot, run: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    second = cropped_run(
        tmp_path / "second", monkeypatch, name="with VAR", intervention=Redistribution()
    )
    answer = [int(p) for p in run.generated_positions]
    parts_at, returns_at = answer[1], answer[2]
    # Each word of the answer with an id of its own; one of them another word in the second run.
    own = [
        replace(token, id=5000 + token.position) if token.role == "generated" else token
        for token in run.tokens
    ]
    changed = list(own)
    changed[parts_at] = replace(changed[parts_at], id=987654, text=" other")
    monkeypatch.setattr(
        Recording, "tokens", property(lambda r: tuple(changed if r is second else own))
    )
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run, second)
    workspace.view.set(compare="run", shown="after")
    notes = []
    for position in (answer[0], parts_at, returns_at):
        workspace.selection.select_token(position)
        settle()
        assert panel._maps is not None
        notes.append((panel.note.text(), panel._maps.after is None))
    assert notes[0] == (GLOBAL.format(what="VAR"), False)
    assert notes[1] == (NO_MATCH, True)
    assert notes[2][0].startswith(GLOBAL.format(what="VAR")) and "first divergence" in notes[2][0]
    assert not notes[2][1]
    # Seen from the second run its own word is no "before": that map is the baseline's.
    workspace.look_at(second, parts_at)
    settle()
    maps = panel._maps
    assert maps is not None and panel.note.text() == NO_MATCH
    query = second.query_of(parts_at)
    assert query is not None and maps.before is None and maps.after is not None
    used = second.redistributed(query, Redistribution())[..., second.layout.positions]
    np.testing.assert_allclose(maps.after, used.mean(axis=(0, 1)), rtol=1e-4, atol=1e-8)
    workspace.view.set(shown="all")
    settle()
    bare = [np.isnan(panel.views[moment]._values).all() for moment in MOMENTS]
    assert bare == [True, False, True]


def test_a_small_change_is_told_as_a_difference() -> None:
    none = np.zeros(4, dtype=bool)
    before = np.array([0.5, 0.5, 0.5, 0.5], dtype=np.float32)
    after = np.array([0.5, 0.75, 0.50001, 0.49999], dtype=np.float32)
    maps = Maps(before, after, none, none, "")
    texts = [change_text(maps, token) for token in range(4)]
    assert texts[:2] == ["0.5", "0.5 → 0.75"]
    assert texts[2].startswith("0.5 (+") and texts[3].startswith("0.5 (−")
    assert change_text(Maps(None, after, none, none, ""), 1) == "0.75"


def test_a_narrow_bar_of_differences_still_names_its_end(qtbot: QtBot) -> None:
    bar = ColourBar()
    qtbot.addWidget(bar)
    bar.set_scale(-0.00053, 0.00053, "RdBu_r", "change of α (share of the row)")
    assert "share of the row" in bar.toolTip()
    seen: dict[int, str] = {}
    for width in (150, 400):
        bar.resize(width, bar.sizeHint().height())
        seen[width] = _texts_drawn(bar)
    assert seen[150] == "change of α" + "±0.00053"
    assert seen[400].startswith("change of α (share of the row)−") and "±" not in seen[400]


def _texts_drawn(bar: ColourBar) -> str:
    """What the bar writes, one after the other: painted into an SVG, whose texts can be read."""
    from xml.etree import ElementTree

    from PySide6.QtSvg import QSvgGenerator

    buffer = QtCore.QBuffer()
    buffer.open(QtCore.QIODevice.OpenModeFlag.WriteOnly)
    drawn = QSvgGenerator()
    drawn.setOutputDevice(buffer)
    drawn.setSize(bar.size())
    bar.render(drawn, QtCore.QPoint(0, 0))
    root = ElementTree.fromstring(bytes(buffer.data().data()).decode())
    return "".join(str(e.text) for e in root.iter("{http://www.w3.org/2000/svg}text"))
