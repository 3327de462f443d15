"""What the Image panel says of its maps: which run they are of, where the budget goes, what is
missing; and that it can be read where there is little room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtGui
from pytestqt.qtbot import QtBot

from tests import synthetic
from tests.gui.layouts import two_pictures
from tests.gui.panel_stage import cropped_run, settle, stage
from var_studio.gui.panels.image import ImagePanel
from var_studio.gui.panels.image_figure import options_of
from var_studio.gui.panels.image_maps import NO_PAIR, UNCHANGED, difference_limits
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support", extend=True)


@pytest.fixture
def steered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    how = Redistribution(tau=20.0, rho=0.3, target="region", region=(3, 4, 5))
    return cropped_run(tmp_path / "steered", monkeypatch, name="VAR", intervention=how)


def test_each_map_of_two_runs_says_which_run_it_is_of(
    qtbot: QtBot, run: Recording, steered: Recording
) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run, steered)
    said = {}
    for shown in ("before", "after", "difference", "all"):
        workspace.view.set(compare="run", shown=shown)
        settle()
        said[shown] = panel.note.text()
    assert all(text.startswith("GLOBAL – ") for text in said.values())
    assert said["before"].startswith("GLOBAL – the baseline run;")
    again, region = "GLOBAL – model run again with VAR", " · to a region of 3 tokens"
    assert said["after"] == f"{again}{region}"
    # What matters least comes last, where a narrow panel cuts.
    assert said["difference"] == said["all"] == f"{again} against the baseline{region}"
    # The same from the other run's side: the map before is still the baseline's.
    workspace.look_at(steered)
    workspace.view.set(shown="before")
    settle()
    assert panel.note.text() == said["before"]


def test_a_run_to_no_region_says_none(
    qtbot: QtBot, run: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = cropped_run(
        tmp_path / "plain", monkeypatch, name="VAR", intervention=Redistribution(tau=20.0)
    )
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run, plain)
    # The settings on screen are not those that the second run was made with.
    workspace.method.set(target="region", region=(1,))
    workspace.view.set(compare="run", shown="after")
    settle()
    assert panel.note.text() == "GLOBAL – model run again with VAR"


def test_no_difference_is_drawn_without_a_second_run(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    workspace.view.set(compare="run", shown="difference", sinks_boxed=True)
    settle()
    view, bar = panel.views["difference"], panel.difference_bar
    assert view._sentence == panel.note.text() == NO_PAIR
    assert np.isnan(view._values).all() and view._sinks is None
    grabbed = bar.grab().toImage()
    colours = {grabbed.pixel(x, y) for x in range(0, bar.width(), 3) for y in range(bar.height())}
    assert len(colours) == 1, "a scale of nothing"
    assert panel._maps is not None
    scene = panel._scene
    limits = panel._source.limits(panel._maps, panel._reading, workspace.view.current)
    options = options_of(workspace.view.current, panel._maps, limits, run.layout, scene)
    assert options.difference_limits is None
    # Beside the others it says so too, and "before" is a map as ever.
    workspace.view.set(shown="all")
    settle()
    assert panel.views["after"]._sentence == NO_PAIR and panel.views["before"]._sentence == ""
    assert not np.isnan(panel.views["before"]._values).any()
    # Where there is something to compare, the scale and the map come back.
    workspace.view.set(compare="local")
    workspace.method.set(rho=0.0, mass_min=0.0)
    settle()
    assert view._sentence == "" and not np.isnan(view._values).any()
    grabbed = bar.grab().toImage()
    assert len({grabbed.pixel(x, 6) for x in range(bar.width())}) > 20


def test_where_nothing_changes_there_is_no_scale_either(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    workspace.selection.select_head(run.n_layers - 1, 0)  # the last layer is never touched
    workspace.view.set(shown="difference")
    settle()
    assert panel._maps is not None and not panel._maps.difference.any()
    assert difference_limits(panel._maps, workspace.view.current) is None
    assert panel.views["difference"]._sentence == UNCHANGED


def test_the_layer_of_the_sinks_can_be_read_in_a_small_panel_with_several_images(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "make_layout", lambda *args, **kwargs: two_pictures())
    run = synthetic.make_run(tmp_path / "run", layers=4, heads=9, precision="float32")
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run, size=(466, 300))
    workspace.view.set(sinks_boxed=True)
    settle()
    assert panel.fold.folded and panel.part.isVisible()
    told = f"sinks of layer {panel._reading.focus.layer}"
    for compare in ("local", "run"):
        workspace.view.set(compare=compare, shown="after")
        settle()
        line = panel.subject
        (seen,) = line._broken(QtGui.QFontMetrics(line.font()))
        whole = panel.hover._broken(_font_of(panel))
        assert any(told in part for part in whole) and not any("…" in part for part in whole)
        assert told in line.toolTip() and "as query" in line.toolTip()
        assert told in seen, seen
    # Before anything is dropped: which token, the heads, the sinks, then the row.
    workspace.view.set(shown="before")
    panel._window.resize(1100, 760)
    settle()
    parts = panel.subject.text().split(" · ")
    assert [parts[-2], parts[-1]] == [told, "as query"]


def _font_of(panel: ImagePanel) -> QtGui.QFontMetrics:
    from var_studio.gui.widgets import inks

    metrics = QtGui.QFontMetrics(panel.hover.font())
    small = QtGui.QFontMetrics(inks.small_font(panel.hover.font()))
    return metrics if panel.hover._fits(metrics) else small
