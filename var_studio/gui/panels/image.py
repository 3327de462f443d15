"""The Image panel: where in the picture the selected token and heads looked."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.analysis.scale import Limits
from var_studio.errors import VarStudioError
from var_studio.figures.words import PICTURE_LEFT_OUT, STRIP, after_left_out
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.cell_words import cell_text, cells_text, sinks_elsewhere
from var_studio.gui.panels.image_figure import options_of
from var_studio.gui.panels.image_maps import (
    BAR_NAMES,
    BEFORE_NOTE,
    BEFORE_SHORT,
    Maps,
    MapSource,
    captions,
    difference_limits,
    missing_text,
    note_text,
    second_run,
    short_subject,
    subject,
)
from var_studio.gui.panels.part_choice import PartChoice
from var_studio.gui.widgets.colour_bar import ColourBar
from var_studio.gui.widgets.heat_scene import HeatScene, scenes_of, to_qimage
from var_studio.gui.widgets.heat_view import HeatView, Overlay
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.inks import region_colour
from var_studio.gui.widgets.map_controls import ControlsFold, MapControls
from var_studio.gui.widgets.map_grid import MapGrid
from var_studio.gui.widgets.map_tools import MapTools
from var_studio.gui.widgets.segmented import Segmented
from var_studio.gui.widgets.short_combo import ShortCombo
from var_studio.gui.widgets.zoom import Zoom
from var_studio.recording.failures import LeftOutError
from var_studio.recording.regions import tokens_in_box

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.figures.build import MapOptions
    from var_studio.gui.models.workspace import Workspace
    from var_studio.recording.recording import Recording

MOMENTS = ("before", "after", "difference")
SHOWN = (
    ("before", "Before", "The row as the model computed it."),
    ("after", "After", "The row after redistribution (Eq. 4). Space flips."),
    ("difference", "Difference", "After minus before; the colours' middle is 0."),
    ("all", "All", "Before, after and difference side by side."),
)
UNSEEN = "The model never saw this part of the picture: it was cropped away."
ELSEWHERE = "Not in this view: the model saw this part of the picture in another one."
_LOW = 360
"""Pixels of height below which the controls fold into a button."""
HINT = "Rest the pointer on a cell for its numbers; click to pick it."


class ImagePanel(Panel):
    """A heat map over the picture, before and after redistribution."""

    help_text = (
        "The attention α from the selected token to each visual token (or, by the Scale menu, its "
        "contribution α·‖v Wₒ‖, Sec. 4.2), laid over the part of the "
        "picture that the token sees. Hatched: parts of the picture that the model never saw, and "
        "padding; veiled: parts that it saw in another view. "
        "Boxes: visual sinks of the layer, φ ≥ τ (Sec. 4.1). Local compares this row with "
        "its redistribution under the present settings, the same hidden states in both (Sec. 5.2). "
        "A second run compares with the model run again, with interventions in every layer and "
        "step. Click a cell to pick it: the "
        "words of the answer are then coloured by how much each looks at it; click it again to "
        "let go, with Ctrl to pick more. The tools on the left paint regions, which the Regions "
        "panel names. Turn the wheel to zoom, drag to move (with the right button while "
        "painting), double click to see all; comma and full stop, or the wheel with Shift, change "
        "the size of the brush. With Tab the map takes the keyboard: arrows move a cursor, Enter "
        "uses the tool, Page Up and Page Down change the view. Space flips before "
        "and after, S boxes the sinks."
    )
    empty_text = "Click a word of the answer: the part of the picture it looked at appears here."
    figure_name = "map"

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._hovered = -1
        self._said = ("", "", "")
        self._source = MapSource()
        self._maps: Maps | None = None
        self._reading: Reading | None = None
        self._scenes_of: object = None
        self._left_out: set[int] = set()
        self.zoom = Zoom(self)
        self.shown = Segmented("Map", SHOWN)
        self.compare = ShortCombo()
        self.compare.addItem("Local", "local")
        self.compare.addItem("Second run", "run")
        self.compare.setToolTip(
            "What “after” is: this row redistributed (local), or the model run again (global)."
        )
        self.compare.setAccessibleName("Compare with: local redistribution or the second run")
        self.compare.activated.connect(self._choose_compare)
        self.header.add_control(self.shown)
        self.header.add_control(self.compare)
        self.set_body(self._build_body())
        self.shown.chosen.connect(self._choose_shown)

    def _build_body(self) -> QtWidgets.QWidget:
        body = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(body)
        column.setContentsMargins(10, 2, 10, 6)
        column.setSpacing(4)
        self.subject = HoverLine("")
        self.subject.setAccessibleName("What the map shows")
        self.note = HoverLine("")
        self.note.setAccessibleName("What is compared")
        self.note.set_quiet(True)
        self.part = PartChoice()
        self.part.activated.connect(self._choose_part)
        top = QtWidgets.QHBoxLayout()
        top.setSpacing(6)
        top.addWidget(self.subject, 1)
        self.controls = MapControls()
        self.fold = ControlsFold(self.controls)
        top.addWidget(self.fold)
        column.addLayout(top)
        second = QtWidgets.QHBoxLayout()
        second.setSpacing(6)
        second.addWidget(self.note, 1)
        second.addWidget(self.part)
        column.addLayout(second)
        self._top, self._second = top, second
        self.grid = self._build_views()
        self.tools = MapTools()
        middle = QtWidgets.QHBoxLayout()
        middle.setSpacing(6)
        middle.addWidget(self.tools)
        middle.addWidget(self.grid, 1)
        column.addLayout(middle, 1)
        column.addWidget(self.controls)
        self._column = column
        self.hover = HoverLine(HINT, 2)
        column.addWidget(self.hover)
        return body

    def _build_views(self) -> MapGrid:
        self.views: dict[str, HeatView] = {}
        self.bar = ColourBar()
        self.difference_bar = ColourBar()
        parts = []
        for moment in MOMENTS:
            view = HeatView(self.zoom)
            view.setAccessibleName(f"Map on the picture: {moment}")
            view.token_hovered.connect(self._hover)
            view.bare_hovered.connect(self._hover_bare)
            view.token_clicked.connect(self.pick)
            view.box_drawn.connect(self._box_drawn)
            view.cells_painted.connect(self._paint)
            view.stroke_ended.connect(self._stroke_ended)
            view.part_stepped.connect(self._step_part)
            view.brush_resized.connect(self._resize_brush)
            self.views[moment] = view
            bar = self.difference_bar if moment == "difference" else self.bar
            parts.append((moment, view, bar))
        return MapGrid(parts)

    def focus_map(self) -> None:
        """Give the keyboard to the map on screen, where there is one."""
        shown = [view for view in self.views.values() if view.isVisible()]
        if shown:
            shown[0].setFocus(QtCore.Qt.FocusReason.OtherFocusReason)

    # ------------------------------------------------------------------------------ listen
    def set_workspace(self, workspace: Workspace) -> None:
        """Follow the workspace and the way its maps are shown."""
        super().set_workspace(workspace)
        self.controls.set_view(workspace.view)
        self.tools.set_view(workspace.view)
        workspace.selection.changed.connect(self._selection_changed)
        workspace.view.changed.connect(self._view_changed)
        workspace.runs_changed.connect(self._view_changed)

    def _view_changed(self) -> None:
        assert self.workspace is not None
        if not self.isVisible() or self._reading is None:
            self._stale = True
        elif self.workspace.reading is self._reading:  # else another is about to be announced
            self.refresh(self._reading)

    def _choose_shown(self, shown: str) -> None:
        if self.workspace is not None:
            self.workspace.view.set(shown=shown)

    def _choose_compare(self) -> None:
        if self.workspace is not None:
            self.workspace.view.set(compare=self.compare.currentData())

    def _choose_part(self) -> None:
        self.zoom.reset()
        self._show_scene()
        self._view_changed()

    def show_part(self, image: int, view: int | None) -> None:
        """Show the picture and view that the options of a figure name, where there is such."""
        reading = None if self.workspace is None else self.workspace.reading
        if reading is not None and reading.run.layout.count:
            self._take_run(reading)
            if self.part.show_part(image, view):
                self._choose_part()

    def _step_part(self, step: int) -> None:
        if self.part.step(step):
            self._choose_part()

    def _selection_changed(self) -> None:
        """Cells that were picked elsewhere are shown where they lie."""
        assert self.workspace is not None
        cells = self.workspace.selection.cells
        if self.part.show_one_of(cells):
            self._choose_part()
        for view in self.views.values():
            view.set_cells(cells)
        self._say_hovered()

    # ----------------------------------------------------------------------------- repaint
    def refresh(self, reading: Reading | None) -> None:
        """Show the maps of this reading."""
        self._reading = reading
        if reading is None or self.workspace is None:
            return
        if not reading.run.layout.count:
            self.show_empty("This run has no image, so there is no map to show.")
            return
        workspace, view = self.workspace, self.workspace.view.current
        self._take_run(reading)
        how = view.compare
        self._maps = self._source.maps(
            reading, how, workspace.baseline, workspace.paired, view.quantity
        )
        selection = workspace.selection
        boxed = view.sinks_boxed
        self._show_choices()
        shown = MOMENTS if view.shown == "all" else (view.shown,)
        self._lay_out(shown)
        self._said = (
            subject(reading, selection.position, selection.row_of, boxed),
            short_subject(reading, selection.position, boxed),
            self._note_text(shown),
        )
        self._say_what()
        self._paint_maps(shown)
        self._show_marks()
        self._say_hovered()

    def _take_run(self, reading: Reading) -> None:
        run = reading.run
        # A growing run makes its layout anew whenever it is read: the object says nothing.
        key = (run.id, id(run), run.layout.count, len(run.layout.views))
        if self._scenes_of == key:
            return
        self._scenes_of = key
        self._left_out.clear()
        pictures = self._pictures(run) if run.layout.known else []
        self.part.set_scenes(scenes_of(run.layout, pictures))
        self.zoom.reset()
        self._hovered = -1
        self._show_scene()

    def _pictures(self, run: Recording) -> list[QtGui.QImage | None]:
        """The run's pictures; None in place of one that cannot be read, which is said once."""
        assert self.workspace is not None
        pictures: list[QtGui.QImage | None] = []
        for index in range(len(run.layout.image_sizes)):
            try:
                pictures.append(to_qimage(run.image(index)))
            except LeftOutError:
                pictures.append(None)
                self._left_out.add(index)
            except VarStudioError as error:
                pictures.append(None)
                self.workspace.problem.emit(error)
        return pictures

    @property
    def _scene(self) -> HeatScene:
        return self.part.scene

    def _show_scene(self) -> None:
        if self.workspace is not None:
            self.workspace.view.show_part(self._scene.view_indices)
        self.hover.set_hint(" · ".join(part for part in (HINT, self._scene.legend) if part))
        for view in self.views.values():
            view.set_scene(self._scene)

    def _show_marks(self) -> None:
        """Picked cells, regions, tool."""
        assert self.workspace is not None
        workspace = self.workspace
        active = workspace.regions.active
        overlays = [
            Overlay(region.tokens, region_colour(index), region is active)
            for index, region in enumerate(workspace.regions.current)
        ]
        for view in self.views.values():
            view.set_cells(workspace.selection.cells)
            view.set_overlays(overlays)
            view.set_tool(workspace.view.current.tool)
            view.set_brush(workspace.view.current.brush)

    def _show_choices(self) -> None:
        assert self.workspace is not None
        view = self.workspace.view.current
        self.shown.set_current(view.shown)
        self.compare.setCurrentIndex(self.compare.findData(view.compare))
        second, at = self.workspace.paired, self.compare.findData("run")
        self.compare.setItemText(at, second_run(second))
        self.compare.set_short(at, second_run(second, short=True))
        item = cast(QtGui.QStandardItemModel, self.compare.model()).item(at)
        paired = second is not None and self.workspace.baseline is not None
        item.setEnabled(paired or view.compare == "run")
        item.setToolTip("" if paired else "Press “Run pair” first.")

    def _lay_out(self, shown: tuple[str, ...]) -> None:
        assert self.workspace is not None
        bounds = self._scene.bounds
        named = captions(self.workspace.view.current.compare, self.workspace.paired)
        names = dict(zip(MOMENTS, named, strict=True))
        self.grid.show_parts(shown, names, bounds.width() / max(bounds.height(), 1e-9))

    def _note_text(self, shown: tuple[str, ...]) -> str:
        assert self._maps is not None and self._reading is not None
        note = note_text(self._maps, shown, self._reading)
        if self._scene.strip:
            return f"{STRIP.capitalize()}. {note}"
        note = after_left_out(self._reading) or note
        if self._scene.image in self._left_out:
            note = f"{PICTURE_LEFT_OUT} {note}"
        elsewhere = sinks_elsewhere(self._reading, self._scene)
        return f"{note} · {elsewhere}" if elsewhere else note

    def _paint_maps(self, shown: tuple[str, ...]) -> None:
        assert self.workspace is not None and self._maps is not None
        assert self._reading is not None
        maps, view = self._maps, self.workspace.view.current
        limits = self._source.limits(maps, self._reading, view)
        apart = difference_limits(maps, view)
        gamma = min(max(view.gamma, 0.1), 10.0)
        names = BAR_NAMES[view.quantity]
        for bar, scale, colours, name in (
            (self.bar, limits, view.colour_map, names[0]),
            (self.difference_bar, apart, view.difference_map, names[1]),
        ):
            if scale is None:
                bar.set_empty(f"{name}: nothing to show")
            else:
                bar.set_scale(scale.low, scale.high, colours, name, scale.clipped, gamma)
        bare = np.full(len(maps.first), np.nan, dtype=np.float32)
        for moment in shown:
            heat = self.views[moment]
            values = getattr(maps, moment)
            sinks: npt.NDArray[np.bool_] | None
            sinks = maps.sinks_before if moment == "before" else maps.sinks_after
            if values is None:
                values, sinks = bare, None
            elif view.hide_sinks:
                values = np.where(sinks, np.float32(np.nan), values)
            scale, colours = limits, view.colour_map
            if moment == "difference":
                scale, colours = apart or Limits(-1.0, 1.0), view.difference_map
            heat.set_grey_picture(moment == "difference")
            heat.set_opacity(view.opacity)
            heat.set_smooth(view.smooth)
            heat.set_map(values, scale.low, scale.high, colours, gamma)
            heat.set_sinks(sinks if view.sinks_boxed else None)
            heat.set_sentence(missing_text(maps, moment))

    def _say_what(self) -> None:
        """The subject and what is compared; in a low panel in one line, which of the two
        comparisons it is first, and all of it below while no cell is pointed at."""
        what, short, note = self._said
        low = self.fold.folded
        self.note.setVisible(not low)
        self.hover.set_standing("")
        if low:
            first, _, rest = note.partition(" – ")
            if rest:  # what has no name, such as a missing run, is said on the map and below
                what, short = f"{first} · {what} · {rest}", f"{first} · {short}"
            self.hover.set_standing(f"{self._said[0]} · {rest or note}")
        self.subject.set_text(what, short)
        self.note.set_text(note, note.replace(BEFORE_NOTE, BEFORE_SHORT))

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """In a low panel the picture gets the rows of the note and the controls."""
        if self.fold.set_folded(self.height() < _LOW):
            if not self.fold.folded:
                self._column.insertWidget(self._column.indexOf(self.hover), self.controls)
                self.controls.show()
            (self._top if self.fold.folded else self._second).insertWidget(1, self.part)
            self.part.set_narrow(self.fold.folded)
            self._say_what()
        super().resizeEvent(event)

    # ------------------------------------------------------------------------- the pointer
    def pick(self, token: int, extend: bool = False) -> None:
        """Pick the cell of visual token k, or with `extend` add it to the picked ones or take it
        from them; the same again or -1 lets go. Words and heads show who looks there."""
        assert self.workspace is not None
        selection = self.workspace.selection
        if extend:
            cells = selection.cells ^ {token} if token >= 0 else selection.cells
        else:
            cells = frozenset(() if token < 0 or selection.cells == {token} else (token,))
        selection.select_cells(cells)
        if cells:
            self.workspace.view.reverse()

    def _box_drawn(self, box: QtCore.QRectF, erase: bool) -> None:
        """All that see half of the rectangle or more, in whatever view."""
        if self._reading is None or self.workspace is None:
            return
        layout, scene = self._reading.run.layout, self._scene
        if scene.strip:
            tokens = tuple(scene.tokens_in(box))
        else:
            sides = (box.left(), box.top(), box.right(), box.bottom())
            tokens = tokens_in_box(layout, scene.image, sides)
        self.workspace.regions.paint(tokens, erase=erase)

    def _paint(self, tokens: list[int]) -> None:
        assert self.workspace is not None
        erase = self.workspace.view.current.tool == "erase"
        self.workspace.regions.paint(tokens, erase=erase, drag=True)

    def _resize_brush(self, step: int) -> None:
        assert self.workspace is not None
        self.workspace.view.resize_brush(step)

    def _stroke_ended(self) -> None:
        assert self.workspace is not None
        self.workspace.regions.end_stroke()

    def _hover(self, token: int) -> None:
        self._hovered = token
        for view in self.views.values():
            view.set_hovered(token)
        self._say_hovered()

    def _hover_bare(self, what: str) -> None:
        if what:
            self.hover.set_text({"unseen": UNSEEN, "elsewhere": ELSEWHERE}[what])
        else:
            self._say_hovered()

    def _say_hovered(self) -> None:
        reading, maps = self._reading, self._maps
        if reading is None or maps is None or self.workspace is None:
            return
        if reading.run.layout.count != self.workspace.selection.n_visual:
            return  # another run is about to be shown
        cells = self.workspace.selection.cells
        token = self._hovered
        if token < 0 and len(cells) == 1:
            (token,) = cells
        try:
            if 0 <= token < reading.run.layout.count:
                text = cell_text(reading, maps, token, self._sign)
            else:
                text = cells_text(reading, maps, cells, self._sign) if cells else ""
        except VarStudioError as error:
            text = str(error)  # φ of a damaged file
        self.hover.set_text(text)

    def map_options(self, reading: Reading) -> MapOptions | None:
        """How the maps are shown now, for a figure that looks the same."""
        assert self.workspace is not None
        if not reading.run.layout.count:
            return None  # what is missing, the figure says
        self._take_run(reading)
        view, layout, scene = self.workspace.view.current, reading.run.layout, self._scene
        workspace = self.workspace
        maps = self._source.maps(
            reading, view.compare, workspace.baseline, workspace.paired, view.quantity
        )
        limits = self._source.limits(maps, reading, view)
        return options_of(view, maps, limits, layout, scene)

    @property
    def _sign(self) -> str:
        assert self.workspace is not None
        return "α" if self.workspace.view.current.quantity == "attention" else "α·‖v Wₒ‖"

    def picture(self) -> QtGui.QPixmap:
        """The maps with their colour bars, without the controls."""
        assert self.body is not None
        area = self.grid.filled(self.body)
        if area.isEmpty():
            return self.body.grab()
        area.setTop(self.subject.mapTo(self.body, QtCore.QPoint(0, 0)).y())
        return self.body.grab(area.adjusted(-4, 0, 4, 2))
