"""The whole of a researcher's afternoon, by the mouse, by the keyboard alone, with two pictures.

Nothing is done but by clicks and keys on widgets; what is on screen is compared with NumPy on the
arrays of the recording. Only the system's own file dialogs, which no test can click, are answered.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import (
    IGNORE_QT,
    choose,
    click_word,
    notices,
    press,
    settle,
    wait_idle,
    words,
)
from tests.gui.pointer import drag
from tests.gui.story_hands import (
    CONTROL,
    LEFT,
    SHIFT,
    Hands,
    Key,
    answer_dialogs,
    cell_middle,
    image_of,
    redistributed,
    row_of,
    shown_values,
    sinks_by_layer,
    visual_of,
)
from tests.gui.story_state import state_of
from var_studio.gui.export import ExportDialog
from var_studio.gui.main_window import MainWindow
from var_studio.gui.panels.heads import HeadsPanel
from var_studio.gui.panels.phi_histogram import PhiHistogramPanel
from var_studio.gui.panels.regions import RegionsPanel

pytestmark = IGNORE_QT
ROOT = Path(__file__).resolve().parents[2]


# ------------------------------------------------------------------------------------ the stories
def test_an_afternoon_with_the_mouse(
    demo: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, workspace = demo, demo.workspace
    hands, selection, transcript = Hands(demo, qtbot), workspace.selection, demo.transcript
    image, heads = image_of(window), window.area.panel("heads")
    histogram = window.area.panel("phi_histogram")
    assert isinstance(heads, HeadsPanel) and isinstance(histogram, PhiHistogramPanel)

    # Ask, and click a word: the map is that of the recording.
    press(qtbot, window.setup.run_button)
    wait_idle(qtbot, window)
    (baseline,) = workspace.runs
    visual = visual_of(baseline)
    position = click_word(qtbot, transcript.answer, 0)
    before = row_of(baseline, position)[..., visual]
    np.testing.assert_allclose(shown_values(qtbot, image, "before"), before.mean((0, 1)), atol=1e-6)

    # Drag τ in the histogram: sinks follow, in every panel.
    view = histogram.histogram
    middle = view.plot_rect().center().y()
    to = [QtCore.QPointF(view.x_of(tau), middle) for tau in (workspace.method.tau, 3.0, 1.5, 2.0)]
    hands.stroke(view.viewport(), *to)
    tau = workspace.method.tau
    assert tau == pytest.approx(2.0, abs=view.phi_at(201.0) - view.phi_at(200.0) + 0.006)
    by_layer = sinks_by_layer(baseline, tau)
    assert by_layer != sinks_by_layer(baseline, baseline.tau_default), "τ makes no difference here"
    assert workspace.reading is not None
    assert workspace.reading.n_visual_sinks.tolist() == by_layer
    assert f"{by_layer[selection.layer]} visual" in view._caption

    # Run the pair with that τ; compare the two runs: before, after, difference; Space flips.
    press(qtbot, window.setup.run_pair_button)
    wait_idle(qtbot, window)
    changed, forced = workspace.runs[1:]
    assert changed.redistribution is not None and forced.teacher == baseline.id
    assert changed.redistribution.tau == tau
    click_word(qtbot, transcript.answer, 0)
    choose(qtbot, image.compare, "run")
    # What the second run's model went on with, not what its attention was before that.
    after = redistributed(changed, position, changed.redistribution)
    qtbot.keyClick(window, Key.Key_Space)
    settle(qtbot)
    np.testing.assert_allclose(shown_values(qtbot, image, "after"), after.mean((0, 1)), atol=1e-6)
    press(qtbot, image.shown.button("difference"))
    settle(qtbot)
    moved = (after - before).mean((0, 1))
    np.testing.assert_allclose(shown_values(qtbot, image, "difference"), moved, atol=1e-6)
    assert np.abs(moved).max() > 1e-4
    press(qtbot, image.shown.button("before"))
    choose(qtbot, image.compare, "local")
    settle(qtbot)

    # Paint a region: a rectangle over 2 × 2 cells, then two more with the brush.
    cols = baseline.layout.views[0].tokens.shape[1]
    assert (baseline.layout.views[0].tokens == np.arange(100).reshape(10, cols)).all()
    press(qtbot, image.tools.buttons["rectangle"])
    canvas = image.views["before"]
    size = cell_middle(image, baseline, 1) - cell_middle(image, baseline, 0)
    corner = QtCore.QPointF(size.x(), size.x()) * 0.45
    first, last = cell_middle(image, baseline, 33), cell_middle(image, baseline, 44)
    hands.stroke(canvas, first - corner, (first + last) / 2, last + corner)
    press(qtbot, image.tools.buttons["brush"])
    hands.stroke(canvas, *(cell_middle(image, baseline, k) for k in (45, 46)))
    assert workspace.regions.active is not None
    region = {33, 34, 43, 44, 45, 46}
    assert set(workspace.regions.active.tokens) == region
    press(qtbot, image.tools.buttons["select"])

    # Steer the budget there: at once in this row, then in a run.
    hands.click_tab("Regions")
    regions = window.area.panel("regions")
    assert isinstance(regions, RegionsPanel)
    press(qtbot, regions.steer)
    press(qtbot, image.shown.button("after"))
    settle(qtbot)
    method = workspace.method.current
    assert method.target == "region" and set(method.region) == region
    steered = redistributed(baseline, position, method).mean((0, 1))
    np.testing.assert_allclose(shown_values(qtbot, image, "after"), steered, atol=1e-6)
    chosen = sorted(region)
    assert steered[chosen].sum() > before.mean((0, 1))[chosen].sum(), "the region gains nothing"
    press(qtbot, window.setup.run_var_button)
    wait_idle(qtbot, window)
    by_region = workspace.runs[-1]
    assert by_region.redistribution is not None
    assert set(by_region.redistribution.region) == region and len(workspace.runs) == 4

    # Reverse view: a click on a cell colours the words by how much they look there.
    click_word(qtbot, transcript.answer, 0)
    press(qtbot, image.shown.button("before"))
    settle(qtbot)
    where = cell_middle(image, baseline, 44).toPoint()
    qtbot.mouseClick(image.views["before"], LEFT, pos=where)
    settle(qtbot)
    assert selection.cells == {44} and workspace.view.current.colour_by == "reverse"
    alpha = before[..., 44]
    best = np.unravel_index(alpha.argmax(), alpha.shape)
    assert workspace.reading is not None
    np.testing.assert_allclose(workspace.reading.on_cells({44}), alpha, atol=1e-6)
    row = baseline.generated_positions.tolist().index(position)
    shown_alpha = transcript.answer.tokens.index(row).data(QtCore.Qt.ItemDataRole.ToolTipRole)
    assert shown_alpha, "a word says how much it looks there"

    # Heads by a rubber band: their mean is on the map.
    atlas = heads.atlas
    drag(qtbot, atlas, atlas.cell_rect(2, 1).center(), atlas.cell_rect(4, 3).center())
    settle(qtbot)
    band = [(layer, head) for layer in (2, 3, 4) for head in (1, 2, 3)]
    assert selection.heads == set(band)
    mean = np.mean([before[head] for head in band], axis=0)
    np.testing.assert_allclose(shown_values(qtbot, image, "before"), mean, atol=1e-6)
    assert best[0] < baseline.n_layers

    # Undo all of it, and make it again: the same state, step by step.
    def known() -> tuple[Any, ...]:
        active = workspace.regions.active
        return (
            workspace.method.tau,
            workspace.method.current.target,
            frozenset(active.tokens if active else ()),
            selection.cells,
            selection.heads,
        )

    there, seen = known(), [known()]
    while window.actions_by_name["undo"].isEnabled() and len(seen) < 60:
        qtbot.keyClick(window, Key.Key_Z, CONTROL)
        settle(qtbot)
        seen.append(known())
    nothing: frozenset[int] = frozenset()
    in_order = [
        (tau, "region", frozenset(region), frozenset({44}), frozenset(band)),
        (tau, "region", frozenset(region), frozenset({44}), nothing),
        (tau, "region", frozenset(region), nothing, nothing),
        (tau, "visual", frozenset(region), nothing, nothing),
        (tau, "visual", frozenset({33, 34, 43, 44}), nothing, nothing),
        (tau, "visual", nothing, nothing, nothing),
        (baseline.tau_default, "visual", nothing, nothing, nothing),
    ]
    steps = iter(seen)
    assert all(step in steps for step in in_order), seen
    for _ in range(len(seen)):
        qtbot.keyClick(window, Key.Key_Z, CONTROL | SHIFT)
        settle(qtbot)
    assert known() == there

    # Export the panel in focus: the heads that the rubber band was drawn over.
    hands.key(Key.Key_E, CONTROL)
    (dialog,) = window.findChildren(ExportDialog)
    dialog.file.selectAll()
    qtbot.keyClicks(dialog.file, str(tmp_path / "fig"))
    press(qtbot, dialog.export_button)
    settle(qtbot)
    assert (tmp_path / "fig.pdf").read_bytes().startswith(b"%PDF")
    arrays = np.load(tmp_path / "fig.npz")
    phi, mass = baseline.phi(), before.sum(-1)
    good = np.where(phi[:, None, visual] >= tau, 0, before).sum(-1)
    np.testing.assert_allclose(arrays["visual_mass"], mass, atol=1e-5)
    np.testing.assert_allclose(arrays["non_sink_ratio"], good / mass, atol=1e-5)

    # Save, close, open again in another window, and where no model can be loaded.
    saved = tmp_path / "afternoon.vars"
    answer_dialogs(monkeypatch, saved)
    hands.save(saved)
    state = state_of(window)
    hands.key(Key.Key_Q, CONTROL)
    assert not window.isVisible()
    again = MainWindow()
    qtbot.addWidget(again)
    again.resize(1400, 900)
    again.show()
    qtbot.waitUntil(again.isActiveWindow)
    qtbot.keyClick(again, Key.Key_O, CONTROL)
    settle(qtbot)
    assert state_of(again) == state
    assert notices(again) == [] and not again.isWindowModified()
    again.close()
    told = told_without_torch(saved)
    assert told["state"] == state
    assert told["imported"] == []
    rest = set(window.area.docks) - set(told["panels"])
    assert rest == set(), f"panels that show nothing: {rest}"
    (said,) = told["notices"]
    assert "torch" in said and "pip install torch" in said and "wrong" not in said


def told_without_torch(path: Path) -> dict[str, Any]:
    """What a window shows of the session in a process that cannot import torch."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gui.story_state", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("STATE ")]
    told: dict[str, Any] = json.loads(line.removeprefix("STATE "))
    assert told["opened"]
    return told


def test_an_afternoon_without_a_mouse(
    demo: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, workspace, transcript = demo, demo.workspace, demo.transcript
    hands, selection, image = Hands(demo, qtbot), workspace.selection, image_of(demo)
    heads, regions = window.area.panel("heads"), window.area.panel("regions")
    histogram = window.area.panel("phi_histogram")
    assert isinstance(heads, HeadsPanel) and isinstance(regions, RegionsPanel)
    assert isinstance(histogram, PhiHistogramPanel)
    for name in ("mousePress", "mouseClick", "mouseRelease", "mouseMove"):
        monkeypatch.delattr(QtBot, name)

    # Ask; find a word of the answer by typing it; walk layers and heads.
    hands.key(Key.Key_R)
    wait_idle(qtbot, window)
    (baseline,) = workspace.runs
    visual = visual_of(baseline)
    hands.tab_to(transcript.answer)
    hands.key(Key.Key_End)
    last = selection.position
    assert last == int(baseline.query_positions[-1])
    hands.key(Key.Key_Home)
    wanted = words(transcript.answer)[1]
    hands.type("/")
    hands.type(wanted)
    hands.key(Key.Key_Return)
    hands.key(Key.Key_Escape)
    position = selection.position
    assert position is not None and wanted in baseline.tokens[position].text
    layer = selection.layer
    hands.key(Key.Key_Down)
    hands.key(Key.Key_BracketRight)
    assert selection.heads == {(layer + 1, 0)}
    before = row_of(baseline, position)[..., visual]
    shown = shown_values(qtbot, image, "before")
    np.testing.assert_allclose(shown, before[layer + 1, 0], atol=1e-6)

    # τ by the keys of the histogram.
    hands.command("show histogram")
    hands.tab_to(histogram.histogram)
    while workspace.method.tau > 2.0:
        hands.key(Key.Key_PageDown)
    tau = workspace.method.tau
    assert workspace.reading is not None
    assert workspace.reading.n_visual_sinks.tolist() == sinks_by_layer(baseline, tau)

    # The pair; before and after by Space.
    hands.key(Key.Key_R, CONTROL)
    wait_idle(qtbot, window)
    assert [bool(run.interventions) for run in workspace.runs] == [False, True, True]
    hands.tab_to(transcript.answer)
    hands.key(Key.Key_Space)
    assert shown_values(qtbot, image, "after") is not None
    hands.key(Key.Key_Space)
    assert workspace.view.current.shown == "before"

    # A cell in reverse, then a region of 2 × 2 cells, in the picture.
    canvas = image.views["before"]
    hands.tab_to(canvas)
    for key in (Key.Key_Down, Key.Key_Down, Key.Key_Right, Key.Key_Return):
        hands.key(key)
    assert selection.cells == {11} and workspace.view.current.colour_by == "reverse"
    hands.tab_to(image.tools.buttons["select"])
    hands.key(Key.Key_Down)
    if workspace.view.current.tool != "rectangle":
        hands.key(Key.Key_Space)
    assert workspace.view.current.tool == "rectangle"
    hands.tab_to(canvas)
    for key in (Key.Key_Return, Key.Key_Down, Key.Key_Right, Key.Key_Return):
        hands.key(key)
    assert workspace.regions.active is not None
    assert set(workspace.regions.active.tokens) == {11, 12, 21, 22}

    # Steer there and run.
    hands.command("show regions")
    hands.tab_to(regions.steer)
    hands.key(Key.Key_Space)
    assert workspace.method.current.region == (11, 12, 21, 22)
    hands.key(Key.Key_R, SHIFT)
    wait_idle(qtbot, window)
    steered = workspace.runs[-1].redistribution
    assert steered is not None and steered.region == (11, 12, 21, 22)

    # Three heads of a layer; undo and redo.
    hands.command("show heads")
    hands.tab_to(heads.atlas)
    hands.key(Key.Key_Right, SHIFT)
    hands.key(Key.Key_Right, SHIFT)
    chosen = sorted(selection.heads)
    assert len(chosen) == 3 and {at for at, _ in chosen} == {layer + 1}
    query = row_of(baseline, selection.position or 0)[..., visual]
    mean = np.mean([query[head] for head in chosen], axis=0)
    np.testing.assert_allclose(shown_values(qtbot, image, "before"), mean, atol=1e-6)
    hands.key(Key.Key_Z, CONTROL)
    assert sorted(selection.heads) != chosen
    hands.key(Key.Key_Z, CONTROL | SHIFT)
    assert sorted(selection.heads) == chosen

    # Export, save, quit.
    hands.key(Key.Key_E, CONTROL)
    (dialog,) = window.findChildren(ExportDialog)
    for _ in range(20):
        if dialog.file.hasFocus():
            break
        hands.key(Key.Key_Tab)
    hands.key(Key.Key_A, CONTROL)
    hands.type(str(tmp_path / "fig"))
    hands.key(Key.Key_Return)
    assert (tmp_path / "fig.pdf").exists()
    saved = tmp_path / "keys.vars"
    answer_dialogs(monkeypatch, saved)
    hands.save(saved)
    hands.key(Key.Key_Q, CONTROL)
    assert not window.isVisible()


def test_several_images_and_a_follow_up(
    demo: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, workspace, transcript = demo, demo.workspace, demo.transcript
    hands, image = Hands(demo, qtbot), image_of(demo)
    section = window.setup.image_section
    paths = [tmp_path / "red.png", tmp_path / "blue.png"]
    for path, colour in zip(paths, ("red", "blue"), strict=True):
        Image.new("RGB", (60, 40), colour).save(path)
    monkeypatch.setattr(
        QtWidgets.QFileDialog, "getOpenFileNames", lambda *_, **__: (list(map(str, paths)), "")
    )
    hands.key(Key.Key_I, CONTROL)
    window.setup.prompt.setFocus()
    hands.key(Key.Key_A, CONTROL)
    hands.type("what color is it?")

    # One by one: a run each, and each is an entry of the session.
    press(qtbot, section.ask.button("each"))
    press(qtbot, window.setup.run_button)
    wait_idle(qtbot, window)
    assert [[e.name for e in run.image_entries] for run in workspace.runs] == [
        ["red.png"],
        ["blue.png"],
    ]
    assert transcript.asked.count() == 2

    # Together: both are in one row, and each has its own map.
    press(qtbot, section.ask.button("together"))
    press(qtbot, window.setup.run_button)
    wait_idle(qtbot, window)
    both = workspace.runs[-1]
    assert [e.name for e in both.image_entries] == ["red.png", "blue.png"]
    assert both.layout.count == 200 and transcript.asked.count() == 3
    position = click_word(qtbot, transcript.answer, 0)
    row = row_of(both, position)[..., visual_of(both)].mean((0, 1))
    np.testing.assert_allclose(shown_values(qtbot, image, "before"), row, atol=1e-6)
    assert image.part.count() == 2
    choose_last = image.part
    choose_last.setFocus()
    hands.key(Key.Key_Down)
    where = cell_middle(image, both, 137)
    qtbot.mouseClick(image.views["before"], LEFT, pos=where.toPoint())
    settle(qtbot)
    assert workspace.selection.cells == {137}, "a cell of the second picture"

    # Ask on, with and without the intervention; what was said before is in the prompt.
    press(qtbot, window.setup.question_section.follow_up)
    hands.type("is it blue?")
    press(qtbot, window.setup.run_pair_button)
    wait_idle(qtbot, window)
    second, changed, forced = workspace.runs[3:]
    assert [turn.question for turn in second.exchanges] == ["what color is it?", "is it blue?"]
    assert second.exchanges[0].answer.strip() == both.text.strip()
    assert forced.teacher == second.id and changed.exchanges[:1] == second.exchanges[:1]
    given = "".join(t.text for t in second.tokens if t.role == "prompt")
    assert "".join(both.text.split()) in "".join(given.split())
    assert second.layout.count == 200

    # An earlier question can be chosen again; all of it comes back from a file.
    transcript.asked.setFocus()
    hands.key(Key.Key_Up)
    assert workspace.run is both
    hands.key(Key.Key_Down)
    assert workspace.run is second
    click_word(qtbot, transcript.answer, 0)
    saved = tmp_path / "several.vars"
    answer_dialogs(monkeypatch, saved)
    hands.save(saved)
    state = state_of(window)
    assert len(state["earlier"]) == 1 and len(state["pictures"]) == 2
    qtbot.keyClick(window, Key.Key_Right)
    press(qtbot, image.shown.button("after"))
    qtbot.keyClick(window, Key.Key_O, CONTROL)
    settle(qtbot)
    assert state_of(window) == state and notices(window) == []
