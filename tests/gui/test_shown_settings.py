"""A threshold is the same number wherever it is written, and the number that is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from tests.gui.charts import drag_guide
from tests.gui.panel_stage import cropped_run, settle, stage
from var_studio.gui.panels.head_scatter import HeadScatterPanel
from var_studio.gui.panels.heads import HeadsPanel
from var_studio.gui.panels.method_section import MethodSection
from var_studio.gui.panels.phi_alpha import PhiAlphaPanel
from var_studio.gui.panels.phi_histogram import caption
from var_studio.gui.widgets.settings_form import FloatControl
from var_studio.gui.widgets.ticks import setting_text

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"\d+\.?\d*", text)]


def test_what_a_drag_sets_is_what_every_panel_says(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cropped_run(tmp_path / "run", monkeypatch)
    panel = HeadScatterPanel()
    workspace = stage(qtbot, panel, run, size=(1311, 741))
    heads = HeadsPanel()
    heads.set_workspace(workspace)
    qtbot.addWidget(heads)
    heads.show()
    section = MethodSection(workspace.method)
    qtbot.addWidget(section)
    section.make_folded()
    drag_guide(qtbot, panel.scatter, "rho", [0.7068])
    drag_guide(qtbot, panel.scatter, "mass_min", [0.6281])
    used = workspace.method.current
    assert used.rho == pytest.approx(0.707, abs=2e-3) and used.mass_min == pytest.approx(
        0.628, abs=2e-3
    )
    assert used.rho != round(used.rho, 2), "the drag must end between two hundredths"
    boxes = []
    for form, name in ((section.form, "rho"), (section.more_form, "mass_min")):
        control = form.controls[name]
        assert isinstance(control, FloatControl)
        boxes.append(float(control.box.text()))
    assert boxes == [used.rho, used.mass_min]
    assert [numbers(guide.text) for guide in panel.scatter.guides] == [[used.rho], [used.mass_min]]
    assert numbers(heads.summary.text())[-2:] == [used.rho, used.mass_min]


def test_tau_of_the_line_is_tau_of_the_box(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cropped_run(tmp_path / "run", monkeypatch, hidden=2048)
    panel = PhiAlphaPanel()
    workspace = stage(qtbot, panel, run, size=(900, 500))
    section = MethodSection(workspace.method)
    qtbot.addWidget(section)
    workspace.method.set(tau=21.37)
    settle()
    control = section.form.controls["tau"]
    assert isinstance(control, FloatControl) and control.box.text() == "21.37"
    assert numbers(panel.scatter.guides[0].text)[0] == 21.37
    assert workspace.reading is not None and "τ = 21.37" in caption(workspace.reading)


def test_a_setting_is_written_as_it_is() -> None:
    written = [setting_text(value) for value in (0.8, 0.707, 20.0, 12.34, 0.0, 1.0004)]
    assert written == ["0.8", "0.707", "20", "12.34", "0", "1"]
    assert [setting_text(value, 2) for value in (0.8, 0.707, 20.0)] == ["0.80", "0.707", "20.00"]
