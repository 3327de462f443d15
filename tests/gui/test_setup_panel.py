"""Setup: the sink dimensions that a person types, the room it takes, the order of Tab."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, notices, press, settle, type_line
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.widgets.dims_edit import parse_dims

pytestmark = IGNORE_QT
Key = QtCore.Qt.Key


@pytest.mark.parametrize(
    ("text", "dims"),
    [("", None), ("  ", None), ("141, 37", (141, 37)), ("37 141;37", (37, 141)), ("0", (0,))],
)
def test_dimensions_are_read(text: str, dims: tuple[int, ...] | None) -> None:
    assert parse_dims(text, 192) == dims


@pytest.mark.parametrize(
    ("text", "what"), [("141, x", "“x”"), ("-1", "“-1”"), ("1.5", "“1.5”"), ("192", "0 to 191")]
)
def test_what_is_no_dimension_is_said(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_dims(text, 192)


def test_sink_dimensions_can_be_typed_and_undone(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run")
    workspace, dims = window.workspace, window.setup.method.dims
    workspace.add_run(run)
    settle(qtbot)
    press(qtbot, window.setup.method.unfold)
    own = run.sink_dims
    assert dims.line.placeholderText().startswith(", ".join(str(dim) for dim in own))
    assert dims.line.text() == ""
    before = workspace.reading
    assert before is not None

    type_line(qtbot, dims.line, str(own[0]))
    assert workspace.method.current.sink_dims == own[:1]
    assert workspace.reading is not None
    np.testing.assert_array_equal(workspace.reading.phi, run.phi(sink_dims=own[:1]))

    # What is no dimension changes nothing, and is said beside the line.
    type_line(qtbot, dims.line, f"{own[0]}, x")
    assert workspace.method.current.sink_dims == own[:1]
    assert dims.wrong.isVisible() and "“x”" in dims.wrong.text()
    assert notices(window) == []

    workspace.undo_stack.undo()
    settle(qtbot)
    assert workspace.method.current.sink_dims is None
    assert dims.line.text() == "" and not dims.wrong.isVisible()
    workspace.undo_stack.redo()
    assert dims.line.text() == str(own[0])
    type_line(qtbot, dims.line, "")
    assert workspace.method.current.sink_dims is None


def test_dimensions_that_were_not_recorded_are_a_notice(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", layers=2, heads=2, hidden=8192)
    workspace = window.workspace
    workspace.add_run(run)
    settle(qtbot)
    recorded = {int(dim) for dim in np.unique(run.top_dims()[0])} | set(run.sink_dims)
    missing = next(dim for dim in range(run.hidden_size) if dim not in recorded)
    workspace.method.set(sink_dims=(missing,))
    settle(qtbot)
    (said,) = notices(window)
    assert f"Dimension {missing}" in said and "run again" in said
    workspace.selection.step_token(1)
    settle(qtbot)
    assert len(notices(window)) == 1, "said once, not at every word"
    assert workspace.reading is not None, "the rows can still be read"
    workspace.undo_stack.undo()  # the step to another word
    workspace.undo_stack.undo()
    settle(qtbot)
    panel = window.area.panel("image")
    assert panel.body is not None and panel.body.isVisible()


def test_a_wider_window_gives_its_room_to_the_maps(window: MainWindow, qtbot: QtBot) -> None:
    image = window.area.panel("image")
    wide, maps = window.setup.width(), image.width()
    window.resize(2400, 1300)
    qtbot.waitUntil(lambda: image.width() > maps + 200)
    assert window.setup.width() <= 400
    window.resize(1400, 900)
    settle(qtbot)
    assert abs(window.setup.width() - wide) < 110


def test_tab_goes_down_the_panel(window: MainWindow, qtbot: QtBot) -> None:
    setup = window.setup
    press(qtbot, setup.method.unfold)
    form, more = setup.method_form.controls, setup.method.more_form.controls
    wanted = [
        setup.model_section.model,
        setup.image_section.open_image,
        setup.prompt,
        form["tau"].slider,  # type: ignore[attr-defined]
        form["p"].slider,  # type: ignore[attr-defined]
        setup.method.preset_buttons["general"],
        setup.method.dims.line,
        more["last_layer"],
        setup.run_button,
        setup.run_var_button,
    ]
    setup.model_section.model.setFocus()
    seen: list[QtWidgets.QWidget | None] = [setup.model_section.model]
    for _ in range(80):
        qtbot.keyClick(window.focusWidget() or window, Key.Key_Tab)
        seen.append(window.focusWidget())
    places = [seen.index(stop) for stop in wanted]
    assert places == sorted(places)


def test_settings_unfolded_below_the_fold_come_into_sight(window: MainWindow, qtbot: QtBot) -> None:
    window.resize(1100, 700)
    settle(qtbot)
    row = window.setup.interventions.rows["knockout"]
    window.setup.scroller.ensureWidgetVisible(row.box)
    press(qtbot, row.box)
    settle(qtbot)
    view = window.setup.scroller.viewport()
    bottom = row.mapTo(view, row.rect().bottomLeft())
    assert row.settings.isVisible() and view.rect().contains(bottom)
