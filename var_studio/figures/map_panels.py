"""What the pictures of every map have in common: geometry, sinks, scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from var_studio.analysis.contributions import Quantity
from var_studio.analysis.reading import Reading
from var_studio.analysis.scale import Limits, full_limits, robust_limits
from var_studio.analysis.views import ShownViews
from var_studio.figures.geometry import cell_box, unseen_and_padding
from var_studio.figures.spec import ColourScale, Heat, ImagePanel
from var_studio.recording.layout import Box
from var_studio.recording.questions import check_choice

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording

ATTENTION_COLOURS = "viridis"
DIFFERENCE_COLOURS = "RdBu_r"


@dataclass(frozen=True, slots=True)
class MapOptions:
    """How a map is shown. `robust`: the 99 % quantile is the last colour, so that a few tokens do
    not darken the rest. `hide_sinks`: sinks, which are boxed anyway, play no part in that.

    `image` and `view` count from 0. `view` None: all finest views of the image; a number: that
    view alone, whose image goes before `image`. `gamma` bends the colours (`scale.placed`).
    `limits` and `difference_limits`: those of a scale made elsewhere, of which `scale_name` tells
    in the notes; None: made for the tokens shown. `bare_sinks` leaves sinks uncoloured; `grey`
    takes the colours off the picture under before and after, as under the difference always.
    """

    opacity: float = 0.8
    smooth: bool = False
    robust: bool = True
    hide_sinks: bool = True
    colour_map: str = ATTENTION_COLOURS
    image: int = 0
    view: int | None = None
    difference_map: str = DIFFERENCE_COLOURS
    gamma: float = 1.0
    limits: Limits | None = None
    difference_limits: Limits | None = None
    scale_name: str = ""
    quantity: Quantity = "attention"
    sinks_boxed: bool = True
    bare_sinks: bool = False
    grey: bool = True

    def __post_init__(self) -> None:
        """Raises VarStudioError for a quantity that there is not."""
        check_choice("quantity", self.quantity, Quantity)


def picture_panel(reading: Reading, options: MapOptions, shown: ShownViews) -> ImagePanel:
    """The picture of the image shown, its sinks boxed; of an unknown geometry an empty strip."""
    layout = reading.run.layout
    if not layout.known:
        strip = layout.strip()
        return ImagePanel("", (strip.cols, strip.rows), None, opacity=1.0)
    unseen, padding = unseen_and_padding(layout, shown.image)
    return ImagePanel(
        title="",
        size=layout.image_sizes[shown.image],
        picture=_picture(reading.run, shown.image),
        sinks=sink_boxes(reading, reading.visual_sinks, options, shown),
        unseen=unseen,
        padding=padding,
        opacity=options.opacity,
        smooth=options.smooth,
        grey=options.grey,
    )


def _picture(run: Recording, image: int) -> npt.NDArray[np.uint8]:
    """The picture (h, w, 3) uint8; an empty one where it was left out of the session."""
    if run.has_image(image):
        return np.asarray(run.image(image).convert("RGB"))
    return np.full((1, 1, 3), 238, np.uint8)


def picture_left_out(run: Recording, shown: ShownViews) -> bool:
    """Whether the picture that belongs under the map is not in the session's file."""
    return run.layout.known and not run.has_image(shown.image)


def sink_boxes(
    reading: Reading, sinks: npt.NDArray[np.bool_], options: MapOptions, shown: ShownViews
) -> tuple[Box, ...]:
    """The cells of these visual tokens (V,), where they are boxed and lie in what is shown."""
    layout = reading.run.layout
    if not options.sinks_boxed or not layout.known:
        return ()
    cells = [layout.cell_of(int(k)) for k in np.flatnonzero(sinks)]
    return tuple(cell_box(layout, c) for c in cells if c is not None and c[0] in shown.views)


def heat_panel(
    base: ImagePanel,
    title: str,
    reading: Reading,
    values: npt.NDArray[np.float32],
    scale: ColourScale,
    shown: ShownViews,
) -> ImagePanel:
    """The picture `base` under a map (V,) of its visual tokens."""
    layout = reading.run.layout
    if layout.known:
        heats = tuple(
            Heat(layout.grid(view, values), layout.views[view].box) for view in shown.views
        )
    else:
        tokens = layout.strip().tokens
        grid = np.where(tokens >= 0, values[np.maximum(tokens, 0)], np.float32(np.nan))
        cols, rows = base.size
        heats = (Heat(grid, (0.0, 0.0, float(cols), float(rows))),)
    return replace(base, title=title, heats=heats, scale=scale)


def shared_limits(
    values: Mapping[str, npt.NDArray[np.float32]],
    sinks: Mapping[str, npt.NDArray[np.bool_]],
    drawn: npt.NDArray[np.bool_],
    options: MapOptions,
    names: tuple[str, ...] = ("before", "after"),
) -> Limits:
    """One scale for the maps of these names, each (V,), by what is `drawn` (V,) of them."""
    both = np.concatenate([values[name][drawn] for name in names])
    if not options.robust and not options.hide_sinks:
        return full_limits(both)
    hide = np.concatenate([sinks[name][drawn] for name in names])
    share = 0.99 if options.robust else 1.0
    return robust_limits(both, share=share, hide=hide if options.hide_sinks else None)
