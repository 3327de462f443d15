"""What the panels' own buttons and lists do, as menus: the keyboard and the palette have it too.

Each menu is filled anew when it is shown, so that its ticks and what can be done are true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu

from var_studio.gui.models.commands import Command

if TYPE_CHECKING:
    from var_studio.gui.main_window import MainWindow
    from var_studio.gui.panels.regions import RegionsPanel


@dataclass(frozen=True, slots=True)
class Choice:
    """`ticked` None: it is done, not switched on."""

    text: str
    do: Callable[[], object]
    ticked: bool | None = None
    possible: bool = True
    tip: str = ""


Lines = Sequence[Choice | None]
"""Choices; None between them parts groups."""


class ChoiceMenu(QObject):
    """One menu of choices; `lines` says what they are now."""

    def __init__(self, menu: QMenu, kind: str, lines: Callable[[], Lines]) -> None:
        super().__init__(menu)
        self._menu, self._kind, self._lines = menu, kind, lines
        menu.aboutToShow.connect(self.fill)

    def commands(self) -> list[Command]:
        """The same, for the palette; what is ticked already is said."""
        return [
            Command(
                f"{self._kind} ✓" if line.ticked else self._kind,
                line.text,
                line.do,
                tip=line.tip,
                enabled=line.possible,
            )
            for line in self._lines()
            if line is not None
        ]

    def fill(self) -> None:
        """Make the entries anew."""
        self._menu.clear()
        lines = self._lines()
        letters = iter(with_letters(line.text for line in lines if line is not None))
        for line in lines:
            if line is None:
                self._menu.addSeparator()
                continue
            action = QAction(next(letters), self._menu)
            self._menu.addAction(action)
            action.setStatusTip(line.tip)
            action.setCheckable(line.ticked is not None)
            action.setChecked(bool(line.ticked))
            action.setEnabled(line.possible)
            action.triggered.connect(partial(_without_checked, line.do))


def _without_checked(do: Callable[[], object], _checked: bool = False) -> None:
    do()


def with_letters(texts: Iterable[str]) -> list[str]:
    """The texts of one menu, each with "&" before a letter of its own where there is one left:
    the first of a word rather than one within."""
    taken: set[str] = set()
    found = []
    for text in texts:
        starts = [n for n in range(len(text)) if n == 0 or text[n - 1] in " (/"]
        places = [*starts, *range(len(text))]
        free = (n for n in places if text[n].isascii() and text[n].isalnum())
        at = next((n for n in free if text[n].lower() not in taken), None)
        if at is None:
            found.append(text)
            continue
        taken.add(text[at].lower())
        found.append(f"{text[:at]}&{text[at:]}")
    return found


def add_choices(window: MainWindow) -> list[ChoiceMenu]:
    """All of them, in the menus of the window."""
    menus = window.menus
    found = []
    for menu, before, title, kind, lines in (
        ("File", "open_session", "Sam&ples", "Sample", _samples),
        ("Edit", None, "&Tool of the picture", "Tool", _tools),
        ("Edit", None, "Re&gion", "Region", _region),
        ("View", "show_palette", "Map on the p&icture", "Map", _map),
        ("View", "show_palette", "Colours and &scale of the map", "Map", _scale),
        ("View", "show_palette", "Val&ues of the heads", "Heads", _heads),
        ("View", "show_palette", "&Words", "Words", _words),
        ("Experiment", "reset_method", "The &paper's experiments", "Experiment", _experiments),
        ("Experiment", "reset_method", "&In a run", "In a run", _interventions),
        ("Experiment", "reset_method", "ρ (&rho) for", "ρ for", _rho),
    ):
        submenu = QMenu(title, window)
        place = None if before is None else window.actions_by_name[before]
        menus[menu].insertMenu(place, submenu) if place else menus[menu].addMenu(submenu)
        found.append(ChoiceMenu(submenu, kind, partial(lines, window)))
    return found


# ------------------------------------------------------------------------------------ the lines
def _samples(window: MainWindow) -> Lines:
    # Some have the same title: their first question tells them apart.
    return [
        Choice(
            ": ".join([sample.title, *sample.questions[:1]]),
            partial(window.intake.take_sample, sample),
            tip=sample.note,
        )
        for sample in window.samples
    ]


def _of_view(
    window: MainWindow, field: str, choices: Iterable[tuple[str, str, str]]
) -> list[Choice]:
    """(value, words, tip) of a field of the view."""
    view = window.workspace.view
    return [
        Choice(
            text, partial(view.set, **{field: key}), getattr(view.current, field) == key, True, tip
        )
        for key, text, tip in choices
    ]


def _switch(window: MainWindow, field: str, text: str, tip: str) -> Choice:
    view = window.workspace.view
    on = bool(getattr(view.current, field))
    changes: dict[str, Any] = {field: not on}
    return Choice(text, partial(view.set, **changes), on, tip=tip)


def _tools(window: MainWindow) -> Lines:
    from var_studio.gui.models.view import BRUSH_MOST
    from var_studio.gui.widgets.map_tools import TOOLS

    view = window.workspace.view
    size = view.current.brush
    return [
        *_of_view(window, "tool", TOOLS),
        None,
        Choice("Larger brush", partial(view.resize_brush, 1), possible=size < BRUSH_MOST),
        Choice("Smaller brush", partial(view.resize_brush, -1), possible=size > 1),
    ]


def _region(window: MainWindow) -> Lines:
    regions, method = window.workspace.regions, window.workspace.method
    panel: RegionsPanel = window.area.panel("regions")  # type: ignore[assignment]
    there, active = regions.available, regions.active
    steered = method.stored.target == "region"
    full = active is not None and bool(active.tokens)
    return [
        Choice("New region of the picked cells", panel.new_region, possible=there),
        Choice("Region from a mask image…", panel.ask_mask, possible=there),
        None,
        Choice("Remove the region", panel.remove_region, possible=active is not None),
        Choice("Invert the region", panel.invert_region, possible=active is not None),
        Choice("Pick the region's cells", panel.pick_cells, possible=active is not None),
        Choice(
            "Spread the region to all views", panel.spread_to_views, possible=active is not None
        ),
        None,
        Choice(
            "Steer the budget to the region",
            partial(panel.steer_budget, not steered),
            steered,
            steered or full,
            "The region receives Ω, not all visual non-sinks (Sec. 5.2)",
        ),
    ]


def _map(window: MainWindow) -> Lines:
    from var_studio.gui.panels.image import SHOWN

    workspace = window.workspace
    view = workspace.view
    two = workspace.paired is not None and workspace.baseline is not None
    second = view.current.compare == "run"
    return [
        *_of_view(window, "shown", SHOWN),
        None,
        Choice(
            "Compare locally: this row redistributed",
            partial(view.set, compare="local"),
            not second,
        ),
        Choice(
            "Compare globally: the second run",
            partial(view.set, compare="run"),
            second,
            two or second,
        ),
        None,
        _switch(window, "hide_sinks", "Hide sinks", "Leave the visual sinks out of the map"),
        _switch(window, "smooth", "Smooth", "Interpolate between the middles of the cells"),
    ]


def _scale(window: MainWindow) -> Lines:
    from var_studio.gui.widgets.colour_maps import DIVERGING, SEQUENTIAL
    from var_studio.gui.widgets.map_controls import QUANTITIES, ROBUST, SCALES

    view = window.workspace.view
    return [
        *_of_view(window, "quantity", QUANTITIES),
        None,
        *_of_view(window, "scale", [(k, f"One scale for: {t}", tip) for k, t, tip in SCALES]),
        _switch(window, "robust", ROBUST, "So that one sink does not black out the rest"),
        Choice("Gamma 1", partial(view.set, gamma=1.0), view.current.gamma == 1.0),
        None,
        *_of_view(window, "colour_map", [(k, t, "") for k, t in SEQUENTIAL.items()]),
        None,
        *_of_view(
            window, "difference_map", [(k, f"Differences: {t}", "") for k, t in DIVERGING.items()]
        ),
    ]


def _heads(window: MainWindow) -> Lines:
    from var_studio.gui.panels.head_values import MAPS_TIP, QUANTITIES
    from var_studio.gui.panels.heads import AGGREGATES, ORDERS

    view = window.workspace.view
    maps = view.current.thumbnails
    return [
        *(
            Choice(
                each.label,
                partial(view.set, head_value=each.key, thumbnails=False),
                not maps and view.current.head_value == each.key,
                tip=each.tip,
            )
            for each in QUANTITIES
        ),
        Choice("Thumbnails", partial(view.set, thumbnails=True), maps, tip=MAPS_TIP),
        None,
        *_of_view(window, "head_order", ORDERS),
        None,
        *_of_view(
            window,
            "aggregate",
            [(k, f"{t} of the selected heads", tip) for k, t, tip in AGGREGATES],
        ),
    ]


def _words(window: MainWindow) -> Lines:
    from var_studio.gui.models.word_colours import COLOURINGS

    selection = window.workspace.selection
    row_of, choose = selection.row_of, selection.set_row_of
    return [
        *_of_view(window, "colour_by", [(k, f"Colour: {t}", "") for k, t in COLOURINGS.items()]),
        None,
        Choice("Row: as query", partial(choose, "query"), row_of == "query"),
        Choice("Row: step that produced it", partial(choose, "produced"), row_of == "produced"),
    ]


def _experiments(window: MainWindow) -> Lines:
    from var_studio.gui.models.interventions import PRESETS

    choose = window.workspace.interventions.choose
    return [Choice(f"{each.name} ({each.source})", partial(choose, each)) for each in PRESETS]


def _interventions(window: MainWindow) -> Lines:
    from var_studio.gui.models.interventions import Acting
    from var_studio.recording.interventions import KINDS

    interventions = window.workspace.interventions
    found = []
    for kind in KINDS:
        acts, refusal = interventions.acts(kind), interventions.refusal(kind)
        title = str(Acting.model_fields[kind.replace("-", "_")].title)
        change = partial(interventions.set_acting, kind, not acts)
        found.append(Choice(title, change, acts, not refusal, refusal))
    return found


def _rho(window: MainWindow) -> Lines:
    from var_studio.recording.settings import RHO_PRESETS

    method = window.workspace.method
    return [
        Choice(
            f"{name.capitalize()} tasks: {rho:g}",
            partial(method.set, rho=rho),
            method.stored.rho == rho,
        )
        for name, rho in RHO_PRESETS.items()
    ]
