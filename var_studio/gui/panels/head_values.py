"""What a cell of the Heads panel can stand for: numbers, their scale, and how they read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from var_studio.analysis.scale import full_limits
from var_studio.figures.words import no_dims
from var_studio.gui.widgets.ticks import number_text

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading

Floats = npt.NDArray[np.floating]

THUMBNAILS = "thumbnails"
CELLS = "cells"
CELLS_ALL = "cells_all"


@dataclass(frozen=True, slots=True)
class HeadQuantity:
    """A number for each head. `symbol`: in short, for the line under the heads. `share`: between 0
    and 1, so that its scale never changes. `short`: a label for little room."""

    key: str
    label: str
    symbol: str
    unit: str
    tip: str
    share: bool = True
    short: str = ""


QUANTITIES: tuple[HeadQuantity, ...] = (
    HeadQuantity(
        "non_sink_ratio",
        "Non-sink ratio r",
        "r",
        "share of the visual mass",
        "Part of the visual mass on visual non-sinks (Eq. 3)",
        short="Ratio r",
    ),
    HeadQuantity(
        "visual_mass",
        "Visual mass",
        "visual mass",
        "share of the row",
        "Attention on the image (Sec. 5.1)",
    ),
    HeadQuantity(
        "sink_mass",
        "Sink mass",
        "sink mass",
        "share of the row",
        "Attention on all sinks, visual and text (Sec. 4.1)",
    ),
    HeadQuantity(
        "entropy",
        "Entropy",
        "entropy",
        "nats",
        "Entropy of the row over all tokens, in nats",
        False,
    ),
    HeadQuantity(
        "contribution",
        "Image contribution",
        "image contribution",
        "share of all keys'",
        "What the image adds to the residual stream, α · ‖v Wₒ‖, as a part of what all keys add "
        "(Sec. 4.2)",
        short="Contrib.",
    ),
    HeadQuantity(
        CELLS,
        "On selected cells",
        "on the cells",
        "share of the row",
        "Attention of this token on the cells selected in the image",
        share=False,
        short="Cells",
    ),
    HeadQuantity(
        CELLS_ALL,
        "On cells, all tokens",
        "on the cells, all tokens",
        "mean share of the rows",
        "Attention on the cells selected in the image, mean over all tokens recorded",
        share=False,
        short="Cells, all",
    ),
)
BY_KEY = {quantity.key: quantity for quantity in QUANTITIES}
MAPS_TIP = "The map of every head, each on its own scale"
ALWAYS = ("non_sink_ratio", "visual_mass", "sink_mass", "entropy")
"""Quantities that the line under the heads always tells."""


OF_SINKS = ("non_sink_ratio", "sink_mass")
"""Quantities that say nothing where no sink dimension is known."""


def limits_of(quantity: HeadQuantity, values: Floats) -> tuple[float, float]:
    """Lower and upper end of the scale."""
    if quantity.share:
        return 0.0, 1.0
    known = values[np.isfinite(values)]
    return 0.0, full_limits(known).high if known.size else 1.0


def head_limits(maps: Floats, sinks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Upper limit of each head's own scale: its largest size outside the layer's sinks.

    `maps` (..., rows, cols), `sinks` of a shape that broadcasts to it; returns (...). One sink
    then does not black out the rest of its thumbnail. A head that looks at sinks alone gets the
    largest of all.
    """
    counted = np.broadcast_to(~sinks, (*maps.shape[:1], *sinks.shape[1:])).astype(np.float32)
    limits = np.empty(maps.shape[:-2], dtype=np.float32)
    # Layer by layer: one fits the processor's cache, a large recording's maps do not.
    for layer, (some, weights) in enumerate(zip(maps, counted, strict=True)):
        sizes = np.abs(some)
        largest = _largest(sizes * weights)
        if np.isnan(largest).any():
            sizes = np.nan_to_num(sizes, nan=0.0)
            largest = _largest(sizes * weights)
        limits[layer] = largest if largest.all() else np.where(largest, largest, _largest(sizes))
    return limits


def _largest(sizes: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """The largest of each map (..., rows, cols)."""
    return np.asarray(sizes.reshape(*sizes.shape[:-2], -1).max(axis=-1))


def told(
    reading: Reading, layer: int, head: int, quantity: HeadQuantity, shown: float
) -> list[str]:
    """What is known of a head, in words: its place, its numbers, whether it is image-centric.

    `shown`: its value of the quantity on screen, told where it is not one that always is.
    """
    texts = [f"layer {layer} · head {head}"]
    for key in ALWAYS:
        if key in OF_SINKS and not reading.sink_dims:
            continue
        value = float(reading.head_value(key)[layer, head])  # type: ignore[arg-type]
        unit = " nats" if key == "entropy" else ""
        texts.append(f"{BY_KEY[key].symbol} {number_text(value)}{unit}")
    if quantity.key not in ALWAYS:
        texts.append(f"{quantity.symbol} {number_text(shown)}")
    if image_centric(reading)[layer, head]:
        texts.append("image-centric")
    return texts


def image_centric(reading: Reading) -> npt.NDArray[np.bool_]:
    """(L, H): heads to outline; none where no sink dimension is known, for r is not then."""
    return reading.image_centric & bool(reading.sink_dims)


def summary(reading: Reading) -> str:
    """How many heads are image-centric, and by which rule (Sec. 5.1)."""
    settings, chosen = reading.settings, reading.image_centric
    if not reading.sink_dims:
        return no_dims(reading)
    rule = f"r ≥ {settings.rho:g}"
    if settings.convention == "released-code":
        rule = f"sink share ≤ {settings.rho:g}"
    return (
        f"{int(chosen.sum()):,} of {chosen.size:,} image-centric "
        f"({rule}, mass ≥ {settings.mass_min:g})"
    )


def guide_of(quantity: HeadQuantity, reading: Reading) -> tuple[float, str] | None:
    """The threshold that the quantity is held against and its name, None without one."""
    settings = reading.settings
    if quantity.key == "visual_mass":
        return settings.mass_min, f"least mass {settings.mass_min:g}"
    if quantity.key != "non_sink_ratio":
        return None
    if settings.convention == "released-code":
        return 1.0 - settings.rho, f"1 − ρ = {1.0 - settings.rho:g}"
    return settings.rho, f"ρ = {settings.rho:g}"


def cells_text(cells: Collection[int], done: int, rows: int) -> str:
    """What the values on cells are of, or what is missing for them."""
    if not cells:
        return "No cells are selected: click some in the image."
    count = f"{len(cells)} cell{'s' if len(cells) != 1 else ''} selected"
    return count if done == rows else f"{count} · reading row {done} of {rows}"
