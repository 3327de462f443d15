"""The Regions panel: named parts of the picture, what lies in them, and steering there."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.errors import VarStudioError
from var_studio.figures.words import no_dims, undecided_line
from var_studio.gui import memory
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.image_maps import subject
from var_studio.gui.widgets.number_grid import NumberGrid
from var_studio.gui.widgets.region_list import RegionList
from var_studio.gui.widgets.ticks import number_text
from var_studio.recording.regions import RegionError, in_all_views, tokens_of_mask

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.analysis.regions import RegionAttention, RegionCounts
    from var_studio.gui.models.workspace import Workspace
    from var_studio.recording.regions import Region

_HINT = (
    "No region yet. Paint one with the brush or the rectangle beside the picture, pick cells and "
    "press New, or load a mask image."
)
_WIDE = 600
"""Pixels from which list and numbers stand side by side."""
_STILL = (
    "The budget still goes to {} visual tokens of a region that this picture does not have: untick "
    "“Steer the budget here” to end that."
)
_ELSEWHERE = "Kept with another picture, and without effect on this one: {}."
_TOO_SMALL = "Too small for the cells of this map, each covering less than half of one: {}."
_NOT_HERE = (
    "The budget is steered to a region of another picture; on this one it goes to all visual "
    "non-sinks."
)
_MASKS = "Mask images (*.png *.bmp *.tif *.tiff *.gif *.webp *.jpg *.jpeg);;All files (*)"


class RegionsPanel(Panel):
    """Regions of the picture on screen: made, named, measured, steered to."""

    help_text = (
        "Named sets of visual tokens. Paint with the brush or the rectangle beside the picture, "
        "press New for the picked cells, or load a mask image: bright pixels, a label other than "
        "0, or what is not transparent; it is scaled to the picture, and a cell belongs to the "
        "region when half of it is marked. All views adds the tokens of other tiles or the "
        "thumbnail that see the same part. The numbers compare visual sinks, φ ≥ τ, with all "
        "visual tokens: with the object as region, the share outside is the background's "
        "(App. A.2, Table 6). Steer the budget here makes the region the target of the "
        "redistribution: its tokens receive Ω in place of all visual non-sinks (Sec. 5.2). "
        "Regions belong to the picture and are saved with the session. Double click or F2 "
        "renames, Delete removes, and all of it can be undone."
    )
    data_file = "regions.csv"
    empty_text = "Click a word of the answer: regions of its picture are listed here."

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        body = QtWidgets.QWidget()
        self._row = row = QtWidgets.QBoxLayout(QtWidgets.QBoxLayout.Direction.LeftToRight, body)
        row.setContentsMargins(10, 6, 10, 6)
        row.setSpacing(14)
        row.addLayout(self._build_list(), 2)
        row.addWidget(self._build_numbers(), 3)
        self.steer = QtWidgets.QCheckBox("Steer the budget here")
        self.steer.setToolTip(
            "The region receives Ω, not all visual non-sinks (Sec. 5.2); it follows as you paint."
        )
        self.steer.clicked.connect(self.steer_budget)
        self.header.add_control(self.steer)
        self.set_body(body)

    def _build_list(self) -> QtWidgets.QLayout:
        column = QtWidgets.QVBoxLayout()
        column.setSpacing(4)
        self.list = RegionList()
        self.list.chosen.connect(self._activate)
        self.list.renamed.connect(self._rename)
        self.list.removal_wanted.connect(self._remove_named)
        column.addWidget(self.list, 1)
        buttons = QtWidgets.QHBoxLayout()
        buttons.setSpacing(2)
        self.new = _button("New", "A region of the picked cells; an empty one without any.")
        self.remove = _button("Remove", "Remove the region (Delete).")
        self.invert = _button("Invert", "All other visual tokens instead: object ↔ background.")
        self.pick = _button("Pick", "Pick the region's cells: the words show who looks there.")
        self.spread = _button(
            "All views", "Add the tokens of other views, tiles or thumbnail, that see the same."
        )
        self.from_mask = _button("Mask…", "Load a mask image as a region.")
        for button, slot in (
            (self.new, self.new_region),
            (self.remove, self.remove_region),
            (self.invert, self.invert_region),
            (self.pick, self.pick_cells),
            (self.spread, self.spread_to_views),
            (self.from_mask, self.ask_mask),
        ):
            button.clicked.connect(slot)
            buttons.addWidget(button)
        self.spread.hide()
        buttons.addStretch(1)
        column.addLayout(buttons)
        return column

    def _build_numbers(self) -> QtWidgets.QWidget:
        inside = QtWidgets.QWidget()
        column = QtWidgets.QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        self.numbers = NumberGrid(("inside", "outside", "share inside"))
        self.numbers.setAccessibleName("What lies inside the region")
        column.addWidget(self.numbers)
        self.sentence = QtWidgets.QLabel()
        self.sentence.setObjectName("quiet")
        self.sentence.setWordWrap(True)
        self.sentence.setTextFormat(QtCore.Qt.TextFormat.PlainText)
        column.addWidget(self.sentence)
        column.addStretch(1)
        scroll = QtWidgets.QScrollArea()
        scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        scroll.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
        scroll.setWidgetResizable(True)
        scroll.setWidget(inside)
        return scroll

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Numbers beside the list, or below it in a narrow panel."""
        wide = self.width() >= _WIDE
        directions = QtWidgets.QBoxLayout.Direction
        self._row.setDirection(directions.LeftToRight if wide else directions.TopToBottom)
        super().resizeEvent(event)

    # ------------------------------------------------------------------------------ repaint
    def set_workspace(self, workspace: Workspace) -> None:
        """Follow the regions too where nothing else changes: the names."""
        super().set_workspace(workspace)
        workspace.regions.changed.connect(self._regions_changed)

    def _regions_changed(self) -> None:
        if self.isVisible() and self.workspace is not None:
            self._show_list()

    def _show_list(self) -> None:
        assert self.workspace is not None
        regions = self.workspace.regions
        active = regions.active
        name = "" if active is None else active.name
        self.list.show_regions(regions.current, name, regions.too_small)
        for button in (self.remove, self.invert, self.pick, self.spread):
            button.setEnabled(active is not None)

    def refresh(self, reading: Reading | None) -> None:
        """Show the regions of this reading's picture."""
        if reading is None or self.workspace is None:
            return
        if not reading.run.layout.count:
            self.show_empty("This run has no image, so there is nothing to paint on.")
            return
        from var_studio.analysis.regions import region_attention, region_counts

        self._show_list()
        layout = reading.run.layout
        self.spread.setVisible(layout.known and len(layout.views) > len(layout.image_sizes))
        region = self.workspace.regions.active
        method = self.workspace.method.current
        self.steer.setChecked(method.target == "region")
        self.steer.setEnabled(method.target == "region" or bool(region and region.tokens))
        self.numbers.setVisible(region is not None)
        if region is None:
            self.sentence.setText(self._without_region())
            return
        counts = region_counts(reading, region.tokens)
        attention = region_attention(reading, region.tokens)
        layer = reading.focus.layer
        self.numbers.set_rows(_rows(counts, attention, layer))
        selection = self.workspace.selection
        said = subject(reading, selection.position, selection.row_of)
        told, unknown = no_dims(reading), undecided_line(reading)
        if not told:
            told = _sentence(region, counts, layer) + (f" {unknown}." if unknown else "")
        self.sentence.setText(f"α: {said}. {told}")

    def _without_region(self) -> str:
        assert self.workspace is not None
        method, elsewhere = self.workspace.method, self.workspace.regions.elsewhere
        said = [_HINT]
        if elsewhere:
            names = ", ".join(f"“{name}”" for name in elsewhere)
            said.append(_ELSEWHERE.format(names))
        if self.workspace.regions.too_small:
            names = ", ".join(f"“{name}”" for name in self.workspace.regions.too_small)
            said.append(_TOO_SMALL.format(names))
        if method.region_elsewhere:
            said.append(_NOT_HERE)
        elif method.current.target == "region":
            said.append(_STILL.format(len(method.current.region)))
        return " ".join(said)

    # ------------------------------------------------------------------------------ buttons
    def data_text(self) -> str:
        """Every region of the picture on screen with its numbers, as CSV."""
        reading = None if self.workspace is None else self.workspace.reading
        if reading is None or self.workspace is None or not self.workspace.regions.current:
            raise VarStudioError("There is no region to save yet.", "Paint one on the picture.")
        from var_studio.analysis.regions import region_attention, region_counts
        from var_studio.gui.data_files import csv_of

        layer, rows = reading.focus.layer, []
        for region in self.workspace.regions.current:
            counts = region_counts(reading, region.tokens)
            attention = region_attention(reading, region.tokens)
            rows.append(
                {
                    "region": region.name,
                    "visual_tokens": " ".join(map(str, region.tokens)),
                    "tokens_inside": counts.tokens_inside,
                    "tokens": counts.tokens,
                    "layer": layer,
                    "sinks_inside": int(counts.sinks_inside[layer]),
                    "sinks": int(counts.sinks[layer]),
                    "sinks_inside_all_layers": int(counts.sinks_inside.sum()),
                    "sinks_all_layers": int(counts.sinks.sum()),
                    "alpha_before": attention.before,
                    "alpha_after": attention.after,
                    "visual_alpha_before": attention.visual_before,
                    "visual_alpha_after": attention.visual_after,
                }
            )
        return csv_of({key: [row[key] for row in rows] for key in rows[0]})

    def _activate(self, name: str) -> None:
        assert self.workspace is not None
        self.workspace.regions.activate(name)

    def _rename(self, name: str, new: str) -> None:
        assert self.workspace is not None
        self.workspace.regions.rename(name, new)
        self.list.forget()
        self._show_list()

    def _remove_named(self, name: str) -> None:
        assert self.workspace is not None
        self.workspace.regions.remove(name)

    def remove_region(self) -> None:
        """Remove the active region."""
        assert self.workspace is not None
        if self.workspace.regions.active is not None:
            self.workspace.regions.remove(self.workspace.regions.active.name)

    def new_region(self) -> None:
        """A region of the picked cells."""
        assert self.workspace is not None
        self.workspace.regions.add(self.workspace.selection.cells)

    def invert_region(self) -> None:
        """Patches inside ↔ patches outside; what is no patch is in neither."""
        assert self.workspace is not None and self.workspace.run is not None
        regions, layout = self.workspace.regions, self.workspace.run.layout
        if regions.active is None:
            return
        patches = {
            k for k in range(layout.count) if not layout.known or layout.cell_of(k) is not None
        }
        regions.set_tokens(regions.active.name, patches - set(regions.active.tokens))

    def spread_to_views(self) -> None:
        """The same part of the picture, wherever the model sees it."""
        assert self.workspace is not None and self.workspace.run is not None
        regions, layout = self.workspace.regions, self.workspace.run.layout
        if regions.active is not None:
            tokens = in_all_views(layout, regions.active.tokens)
            regions.set_tokens(regions.active.name, tokens)

    def pick_cells(self) -> None:
        """Pick the active region's cells."""
        assert self.workspace is not None
        active = self.workspace.regions.active
        if active is not None:
            self.workspace.selection.select_cells(active.tokens)
            if active.tokens:
                self.workspace.view.reverse()

    def steer_budget(self, here: bool) -> None:
        """Make the active region the target of the redistribution, or all visual non-sinks."""
        assert self.workspace is not None
        active = self.workspace.regions.active
        if not here:
            self.workspace.method.set(target="visual", region=())
        elif active is not None and active.tokens:
            self.workspace.method.set(target="region", region=active.tokens)

    # -------------------------------------------------------------------------------- masks
    def ask_mask(self) -> None:
        """Choose a mask image; of several pictures, say first which one it is of."""
        assert self.workspace is not None and self.workspace.run is not None
        image = 0
        names = [entry.name for entry in self.workspace.run.image_entries]
        if len(names) > 1:
            choices = [f"{index + 1}: {name}" for index, name in enumerate(names)]
            chosen, sure = QtWidgets.QInputDialog.getItem(
                self, "Load a mask", "Mask of image", choices, 0, False
            )
            if not sure:
                return
            image = choices.index(chosen)
        path, _ = QtWidgets.QFileDialog.getOpenFileName(
            self, "Load a mask image", memory.last_folder("mask"), _MASKS
        )
        if path:
            memory.remember_folder("mask", path)
            self.load_mask(path, image)

    def load_mask(self, path: str, image: int = 0) -> None:
        """A region of what a mask image marks; what is wrong with it goes to the notices."""
        assert self.workspace is not None and self.workspace.run is not None
        from var_studio.recording.masks import load_mask

        layout = self.workspace.run.layout
        name = Path(path).stem
        try:
            if not layout.known:
                raise RegionError(
                    "A mask needs to know where each visual token lies, and for this model that is "
                    "unknown.",
                    "Paint on the strip instead.",
                )
            tokens = tokens_of_mask(layout, image, load_mask(path, layout.image_sizes[image]))
            if not tokens:
                raise RegionError(
                    f"{Path(path).name} marks no cell by half.",
                    "Mark more of the picture, or paint the region.",
                )
        except VarStudioError as error:
            self.workspace.problem.emit(error)
            return
        self.workspace.regions.add(tokens, name)


def _button(text: str, tip: str) -> QtWidgets.QToolButton:
    button = QtWidgets.QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setAutoRaise(True)
    button.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
    return button


def _rows(
    counts: RegionCounts, attention: RegionAttention, layer: int
) -> list[tuple[str, str, str, str]]:
    inside, everything = int(counts.sinks_inside[layer]), int(counts.sinks[layer])
    all_inside, all_sinks = int(counts.sinks_inside.sum()), int(counts.sinks.sum())
    return [
        (
            "Visual tokens",
            f"{counts.tokens_inside:,}",
            f"{counts.tokens - counts.tokens_inside:,}",
            _percent(counts.share_of_tokens),
        ),
        (
            f"Visual sinks, layer {layer}",
            f"{inside:,}",
            f"{everything - inside:,}",
            _percent(counts.share_of_sinks(layer)),
        ),
        (
            "Visual sinks, all layers",
            f"{all_inside:,}",
            f"{all_sinks - all_inside:,}",
            _percent(counts.share_of_sinks()),
        ),
        _alpha("α, before", attention.before, attention.visual_before),
        _alpha("α, after", attention.after, attention.visual_after),
    ]


def _sentence(region: Region, counts: RegionCounts, layer: int) -> str:
    sinks, tokens = counts.share_of_sinks(layer), counts.share_of_tokens
    if math.isnan(sinks):
        return f"Layer {layer} has no visual sink under this τ."
    return (
        f"If “{region.name}” is the object: {_percent(1 - sinks)} of the layer's visual sinks and "
        f"{_percent(1 - tokens)} of all visual tokens lie in the background (Table 6)."
    )


def _alpha(name: str, inside: float, visual: float) -> tuple[str, str, str, str]:
    share = inside / visual if visual else float("nan")
    outside = number_text(visual - inside, zeros=True)
    return name, number_text(inside, zeros=True), outside, _percent(share)


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.3g} %"
