"""What panels offer by buttons and lists is in the menus and in the palette too."""

from __future__ import annotations

from pathlib import Path

from PySide6 import QtGui, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, settle
from tests.synthetic import make_run
from var_studio.gui.choices import with_letters
from var_studio.gui.command_list import commands
from var_studio.gui.main_window import MainWindow

pytestmark = IGNORE_QT


def _open(window: MainWindow, menu: str, title: str) -> dict[str, QtGui.QAction]:
    """The entries of a submenu as it is when it opens, by their texts."""
    found = [
        action.menu()
        for action in window.menus[menu].actions()
        if action.menu() is not None and action.text().replace("&", "") == title
    ]
    (submenu,) = found
    assert isinstance(submenu, QtWidgets.QMenu)
    submenu.aboutToShow.emit()
    return {a.text().replace("&", ""): a for a in submenu.actions() if not a.isSeparator()}


def test_the_menus_are_those_of_the_sketch(window: MainWindow) -> None:
    titles = [action.text().replace("&", "") for action in window.menuBar().actions()]
    assert titles == ["File", "Edit", "Run", "View", "Figure", "Experiment", "Help"]


def test_each_entry_of_a_submenu_has_a_letter_of_its_own(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.start(model=None)
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    assert len(window.choices) == 10
    for choices in window.choices:
        choices.fill()
        texts = [a.text() for a in choices._menu.actions() if not a.isSeparator()]
        letters = [QtGui.QKeySequence.mnemonic(text).toString() for text in texts]
        assert texts and all(letters) and len(set(letters)) == len(letters), texts
    assert with_letters(["Brush", "Box", "B"]) == ["&Brush", "B&ox", "B"]


def test_ticks_and_choices_are_those_of_the_panels(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    view = window.workspace.view
    shown = _open(window, "View", "Map on the picture")
    assert shown["Before"].isChecked() and not shown["Difference"].isChecked()
    assert not shown["Compare globally: the second run"].isEnabled(), "there is none"
    shown["Difference"].trigger()
    shown["Hide sinks"].trigger()
    shown["Smooth"].trigger()
    assert (view.current.shown, view.current.hide_sinks, view.current.smooth) == (
        "difference",
        True,
        True,
    )
    again = _open(window, "View", "Map on the picture")
    assert again["Difference"].isChecked() and again["Hide sinks"].isChecked()
    again["Hide sinks"].trigger()
    assert not view.current.hide_sinks
    heads = _open(window, "View", "Values of the heads")
    heads["Thumbnails"].trigger()
    heads["Sorted"].trigger()
    heads["Max of the selected heads"].trigger()
    assert view.current.thumbnails and view.current.head_order == "sorted"
    assert view.current.aggregate == "max"
    _open(window, "View", "Values of the heads")["Visual mass"].trigger()
    assert not view.current.thumbnails and view.current.head_value == "visual_mass"
    _open(window, "View", "Colours and scale of the map")["Cividis"].trigger()
    assert view.current.colour_map == "cividis"
    _open(window, "View", "Words")["Colour: Sink mass"].trigger()
    assert view.current.colour_by == "sink_mass"
    _open(window, "Edit", "Tool of the picture")["Brush"].trigger()
    _open(window, "Edit", "Tool of the picture")["Larger brush"].trigger()
    assert (view.current.tool, view.current.brush) == ("brush", 2)


def test_regions_are_made_and_steered_to_from_the_menu(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    workspace = window.workspace
    assert not any(action.isEnabled() for action in _open(window, "Edit", "Region").values())
    run = make_run(tmp_path / "run")
    workspace.add_run(run)
    settle(qtbot)
    entries = _open(window, "Edit", "Region")
    assert not entries["Invert the region"].isEnabled(), "there is no region yet"
    workspace.selection.select_cells({1, 2})
    entries["New region of the picked cells"].trigger()
    assert workspace.regions.active is not None
    assert workspace.regions.active.tokens == (1, 2)
    _open(window, "Edit", "Region")["Invert the region"].trigger()
    assert len(workspace.regions.active.tokens) == run.layout.count - 2
    _open(window, "Edit", "Region")["Steer the budget to the region"].trigger()
    assert workspace.method.current.target == "region"
    steer = _open(window, "Edit", "Region")["Steer the budget to the region"]
    assert steer.isChecked()
    steer.trigger()
    assert workspace.method.current.target == "visual"


def test_experiments_of_the_paper_are_a_menu(window: MainWindow) -> None:
    workspace = window.workspace
    entries = _open(window, "Experiment", "The paper's experiments")
    there = [action.text() for action in window.setup.interventions.preset_menu.actions()]
    assert list(entries) == there
    entries["Knockout of visual sinks (Sec. 4.2)"].trigger()
    assert workspace.interventions.acts("knockout")
    assert not workspace.interventions.acts("redistribution")
    acting = _open(window, "Experiment", "In a run")
    assert [a.isChecked() for a in acting.values()] == [False, True, False, False]
    acting["Knockout"].trigger()
    assert not workspace.interventions.acts("knockout")
    _open(window, "Experiment", "ρ (rho) for")["Hallucination tasks: 0.5"].trigger()
    assert workspace.method.stored.rho == 0.5


def test_samples_and_the_hub_are_in_menus_too(window: MainWindow, qtbot: QtBot) -> None:
    window.start(model=None)
    samples = _open(window, "File", "Samples")
    assert len(samples) == len(window.samples) > 2, "no two are called alike"
    list(samples.values())[2].trigger()
    image = window.workspace.question.image
    assert image is not None and image.name == window.samples[2].path.name
    window.actions_by_name["open_hub_model"].trigger()
    settle(qtbot)
    hub = window.setup.model_section.hub
    assert hub.isVisible() and hub.hasFocus()


def test_the_palette_has_them_too(window: MainWindow) -> None:
    offered = {(command.kind, command.text): command for command in commands(window)}
    assert offered["Map ✓", "Before"].enabled and offered["Tool", "Brush"].enabled
    assert not offered["Region", "Invert the region"].enabled
    offered["Experiment", "VAR to text (Table 5)"].call()
    assert window.workspace.method.current.target == "text"
