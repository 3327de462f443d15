"""The r × visual mass scatter: which heads look at the image and past its sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6 import QtWidgets

from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.image_maps import subject
from var_studio.gui.widgets.chart_axes import Axis, Guide
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.legend import Legend
from var_studio.gui.widgets.plot_frame import PlotFrame
from var_studio.gui.widgets.scatter_view import Points, ScatterView
from var_studio.gui.widgets.ticks import number_text, setting_text

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading


class HeadScatterPanel(Panel):
    """One point for each head of the model; ρ and the least visual mass are lines (Sec. 5.1)."""

    help_text = (
        "Each point is a head: how much of the selected token's attention it gives to the image, "
        "and which part of that lies on visual tokens that are no sinks, the visual non-sink "
        "ratio r (Eq. 3). Heads in the upper right are image-centric: r ≥ ρ and visual mass of at "
        "least the given one (Sec. 5.1). Drag the lines to change both; PageUp and PageDown move "
        "ρ, with Ctrl the least mass, with Shift in small steps. Under the released code's "
        "convention ρ bounds the sinks' share, so its line stands at r = 1 − ρ. Large points are "
        "heads of the selected layer. Pull up a rectangle to select heads; Shift adds to them, a "
        "click on nothing selects all."
    )
    empty_text = "Click a word of the answer: every head appears here as a point."
    figure_name = "head_scatter"

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._reading: Reading | None = None
        self.scatter = ScatterView("Scatter plot of the heads' non-sink ratio and visual mass")
        self.scatter.setToolTip("r of Eq. 3 against visual mass, Sec. 5.1. Drag the lines.")
        self.scatter.set_axes(
            # A little more than can be: points at the ends are seen whole.
            Axis(-0.02, 1.02, "visual non-sink ratio r"),
            Axis(-0.02, 1.02, "visual mass"),
        )
        self.scatter.guide_dragged.connect(self._drag)
        self.scatter.guide_released.connect(self._release)
        self.scatter.picked.connect(self._pick)
        self.scatter.point_hovered.connect(self._hover)
        self.legend = Legend()
        self.hover = HoverLine(
            "Drag the lines: ρ and the least visual mass. Pull up a rectangle to select heads."
        )
        self.frame = PlotFrame(self.legend, self.hover)
        self.frame.set_plot(self.scatter)
        self.set_body(self.frame)

    def refresh(self, reading: Reading | None) -> None:
        """Show every head of this reading."""
        self._reading = reading
        if reading is None or self.workspace is None:
            return
        from var_studio.figures.words import no_dims, undecided_line

        if no_dims(reading):
            self.show_empty(no_dims(reading))
            return
        run, settings = reading.run, reading.settings
        centric = reading.image_centric.ravel()
        here = np.arange(centric.size) // run.n_heads == reading.focus.layer
        chosen = [layer * run.n_heads + head for layer, head in reading.focus.heads]
        self.scatter.set_points(
            reading.non_sink_ratio.ravel(),
            reading.visual_mass.ravel(),
            Points(np.flatnonzero(~centric & ~here), "text_tokens", size=4.0, alpha=170),
            Points(np.flatnonzero(centric & ~here), "image_centric", size=4.0, alpha=200),
            Points(np.flatnonzero(~centric & here), "text_tokens", size=9.0),
            Points(np.flatnonzero(centric & here), "image_centric", size=9.0),
            Points(np.array(chosen, dtype=np.int64), "selection", "ring", 13.0),
        )
        by_sinks = settings.convention == "released-code"
        rho, mass = setting_text(settings.rho), setting_text(settings.mass_min)
        self.scatter.set_guides(
            Guide(
                "rho",
                True,
                1.0 - settings.rho if by_sinks else settings.rho,
                f"ρ = {rho}" + (" of sinks at most" if by_sinks else ""),
                0.0,
                1.0,
                "image_centric",
            ),
            Guide(
                "mass_min", False, settings.mass_min, f"mass ≥ {mass}", 0.0, 1.0, "image_centric"
            ),
        )
        selection = self.workspace.selection
        heads = f"each of {centric.size:,} heads with its own layer’s sinks"
        said = subject(reading, selection.position, selection.row_of, heads=heads)
        unknown = undecided_line(reading)
        self.frame.say_subject(f"{said} · {unknown}" if unknown else said)
        share = f"{int(centric.sum())} of {centric.size} heads"
        self.legend.set_entries(
            ("image_centric", "●", f"image-centric: {share}"),
            ("text_tokens", "●", "others"),
            note=f"large: layer {reading.focus.layer}",
        )
        self.scatter.tell_hovered()

    # ---------------------------------------------------------------------------- the user
    def _drag(self, name: str, value: float) -> None:
        if self.workspace is None:
            return
        if name == "rho" and self.workspace.method.current.convention == "released-code":
            value = 1.0 - value
        # Three decimals are finer than a pixel and read better in figures and files.
        self.workspace.method.set(drag=True, **{name: round(value, 3)})

    def _release(self, _: str) -> None:
        if self.workspace is not None:
            self.workspace.method.end_drag()

    def _pick(self, which: object, extend: bool) -> None:
        if self.workspace is None or self._reading is None:
            return
        n_heads = self._reading.run.n_heads
        heads = {divmod(int(index), n_heads) for index in np.asarray(which, dtype=np.int64)}
        before = self.workspace.selection.heads if extend else frozenset()
        self.workspace.selection.select_heads(before | heads)

    def _hover(self, index: int) -> None:
        reading = self._reading
        if reading is None or not 0 <= index < reading.image_centric.size:
            self.hover.set_text("")
            return
        pair = divmod(index, reading.run.n_heads)
        parts = [f"layer {pair[0]} · head {pair[1]}"]
        parts.append(f"r {number_text(float(reading.non_sink_ratio[pair]))}")
        parts.append(f"visual mass {number_text(float(reading.visual_mass[pair]))}")
        parts += ["image-centric"] if reading.image_centric[pair] else []
        self.hover.set_text(" · ".join(parts))
