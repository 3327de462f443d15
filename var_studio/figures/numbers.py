"""Maps of attention and masks of sinks as arrays: NPZ, CSV and PNG, with all that tells what they
are of."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.analysis.choice import read
from var_studio.analysis.contributions import Quantity
from var_studio.analysis.focus import RowOf
from var_studio.analysis.labelled import indices
from var_studio.analysis.reading import Reading
from var_studio.analysis.views import choose_views
from var_studio.errors import VarStudioError
from var_studio.figures.data import csv_text, npz_bytes, settings_text
from var_studio.figures.origin import origin
from var_studio.figures.render import FigureError, write_whole
from var_studio.figures.spec import Figure
from var_studio.method.conventions import rules
from var_studio.recording.layout import VisualLayout
from var_studio.recording.questions import check_choice
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

Arrays = dict[str, npt.NDArray[Any]]

_MOST_VALUES = 200_000_000
"""Values of maps in memory, before and after each."""
_MOST_LINES = 4_000_000
"""Lines of a table, beyond which only NPZ is written."""
_MOST_PIXELS = 400_000_000
"""Pixels of all masks of a file together."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Arrays, the same as columns of a table, and what they are of, as plain JSON."""

    metadata: Mapping[str, Any]
    arrays: Arrays
    table: Callable[[], Mapping[str, npt.NDArray[Any]]]


def maps_of(
    run: Recording,
    *,
    tokens: Sequence[int] | None = None,
    row_of: RowOf = "query",
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    settings: Redistribution | None = None,
    quantity: Quantity = "attention",
) -> Numbers:
    """What each chosen row gives each visual token, head by head, before and after.

    `tokens`: positions (None: the first of the answer); `layers`, `heads`: None: all; `row_of` and
    `settings` as in `choice.read`; `quantity` "contribution": attention times the norm of v W_O, in
    units of the residual stream. The arrays, with N tokens, V visual tokens: `before` and `after`
    (N, layers, heads, V) float32; `phi` (layers, V) float32 and `sinks` (layers, V) bool; `tokens`
    (N,), `layers`, `heads`: what the axes stand for; `positions` (V,), `cells` (V, 3) view, row
    and column (-1: no patch), `boxes` (V, 4) pixels of the image; `view0_tokens` (rows, cols) and
    so on: the visual token in each cell, to lay any of them out. Raises VarStudioError.
    """
    check_choice("quantity", quantity, Quantity)
    if isinstance(tokens, str):
        raise VarStudioError(f"tokens is {tokens!r}.", "Give a list of positions.")
    positions = [None] if tokens is None else list(tokens)
    if not positions:
        raise VarStudioError("There is no token to make a map of.", "Name one that has a row.")
    chosen = _chosen("layer", layers, run.n_layers), _chosen("head", heads, run.n_heads)
    values = len(positions) * len(chosen[0]) * len(chosen[1]) * run.layout.count
    if values > _MOST_VALUES:
        raise VarStudioError(
            f"Maps of {len(positions)} tokens would be {values:,} values.",
            "Choose fewer tokens, layers or heads.",
        )
    shape = (len(positions), *map(len, chosen), run.layout.count)
    before, after = np.empty(shape, np.float32), np.empty(shape, np.float32)
    listed = []
    # One after the other: a reading holds all its rows, also of heads that are not asked for.
    for n, token in enumerate(positions):
        reading = read(run, token=token, row_of=row_of, settings=settings)
        before[n] = _rows(reading, reading.attention, quantity, *chosen)
        after[n] = _rows(reading, reading.redistributed, quantity, *chosen)
        listed.append(origin("maps", reading)["token"])
    layout = run.layout
    arrays: Arrays = {
        "before": before,
        "after": after,
        **_sinks_of(reading, chosen[0]),
        "tokens": np.array([each["position"] for each in listed]),
        "layers": np.array(chosen[0]),
        "heads": np.array(chosen[1]),
        **_places(layout),
    }
    metadata = _about(reading, "maps", chosen[0], chosen[1]) | {
        "tokens": listed,
        "quantity": quantity,
        "unit": "share of the row" if quantity == "attention" else "of the residual stream",
    }
    if len(listed) > 1:
        metadata.pop("token")
        metadata.pop("query")
        metadata.pop("row_position")

    def table() -> Mapping[str, npt.NDArray[Any]]:
        shape = before.shape
        _check_lines(before.size)
        token, layer, head, k = (axis.ravel() for axis in np.indices(shape))
        return {
            "token": arrays["tokens"][token],
            "layer": arrays["layers"][layer],
            "head": arrays["heads"][head],
            **_place_columns(arrays, k),
            "before": before.ravel(),
            "after": after.ravel(),
            "phi": arrays["phi"][layer, k],
            "sink": arrays["sinks"][layer, k],
        }

    return Numbers(metadata, arrays, table)


def masks_of(
    run: Recording,
    *,
    layers: Sequence[int] | None = None,
    settings: Redistribution | None = None,
    image: int | None = None,
    view: int | None = None,
) -> Numbers:
    """Where the visual sinks are: phi >= tau at the input of each layer (Sec. 4.1), whatever the
    token that looks.

    `layers` None: all. The arrays: `sinks` (layers, V) bool and `phi`; `view0_cells` (layers, rows,
    cols) int8 and so on: 1 a sink, 0 none, -1 no visual token; `image1_pixels` (layers, height,
    width) bool and so on, in pixels of the original image: those whose middle lies in the cell of a
    sink. The pixels are those of the finest views of an image, or of `view` alone. `image` (from 0)
    or `view` leave the cells and pixels of all others out, and their lines out of the table; the
    arrays along the visual tokens stay whole. Where the geometry is not known there are no cells
    and pixels. The rest as in `maps_of`. Raises VarStudioError.
    """
    if image is not None and view is not None:
        raise VarStudioError("A view names an image already.", "Leave out the image.")
    # Which row is read plays no part: sinks belong to keys.
    reading = read(run, token=_any_row(run), settings=settings)
    chosen = _chosen("layer", layers, run.n_layers)
    layout = run.layout
    arrays: Arrays = {
        **_sinks_of(reading, chosen),
        "layers": np.array(chosen),
        **_places(layout),
    }
    one = None if image is view is None else choose_views(layout, image or 0, view)
    if one is not None and not layout.known and len(layout.image_sizes) > 1:
        raise VarStudioError(
            "The geometry is unknown: it is not known which tokens are of which image.",
            "Name no image.",
        )
    if layout.known:
        for index, of in enumerate(layout.views):
            if one is not None and (of.image != one.image or view not in (None, index)):
                continue
            cells = layout.views[index].tokens
            marked = arrays["sinks"][:, np.maximum(cells, 0)].astype(np.int8)
            arrays[f"view{index}_cells"] = np.where(cells >= 0, marked, np.int8(-1))
        images = range(len(layout.image_sizes)) if one is None else [one.image]
        wanted = sum(layout.image_sizes[i][0] * layout.image_sizes[i][1] for i in images)
        if wanted * len(chosen) > _MOST_PIXELS:
            raise VarStudioError(
                f"Masks of {len(chosen)} layers in {wanted / 1e6:.0f} million pixels take too "
                "much room.",
                "Choose fewer layers.",
            )
        for index in images:
            views = choose_views(layout, index, view).views
            pixels = _pixels(layout, index, views, arrays["sinks"])
            arrays[f"image{index + 1}_pixels"] = pixels
    metadata = _about(reading, "masks", chosen, None)
    for name in ("query", "aggregate", "row_of", "row_position"):
        metadata.pop(name)
    metadata |= {"token": None, "quantity": "sink", "rule": _rule(reading)}
    metadata |= {"image": None if one is None else one.image, "view": view}

    def table() -> Mapping[str, npt.NDArray[Any]]:
        listed = _listed(layout, image, view)
        layer, k = (axis.ravel() for axis in np.indices((len(chosen), len(listed))))
        k = listed[k]
        _check_lines(k.size)
        return {
            "layer": arrays["layers"][layer],
            **_place_columns(arrays, k),
            "phi": arrays["phi"][layer, k],
            "sink": arrays["sinks"][layer, k],
        }

    return Numbers(metadata, arrays, table)


def save_numbers(numbers: Numbers, path: str | os.PathLike[str]) -> list[Path]:
    """Write them by the suffix, and NAME.json with what they are of beside a CSV or PNG.

    NPZ: the arrays, and the same JSON as the member `settings`. CSV: the table. PNG, of masks: a
    file for each layer and image, white where the pixel is in a sink, with the JSON in its text
    chunk "Description" too; `png_names` says how they are called. Returns the files written.
    Raises FigureError.
    """
    path = Path(path)
    kind = path.suffix.lower()
    figure = Figure(rows=(), metadata=numbers.metadata, arrays=numbers.arrays)
    beside = path.with_suffix(".json"), settings_text(figure).encode("utf-8")
    if kind == ".npz":
        return [write_whole(path, npz_bytes(figure))]
    if kind == ".csv":
        text = csv_text(Figure(rows=(), table=numbers.table()))
        return [write_whole(path, text.encode("utf-8")), write_whole(*beside)]
    masks = {name: value for name, value in numbers.arrays.items() if name.endswith("_pixels")}
    if kind != ".png" or numbers.metadata["figure"] != "masks":
        raise FigureError(
            f"{path} is none of the files that {numbers.metadata['figure']} can be written as.",
            "Use .npz or .csv; for sink masks also .png.",
        )
    if not masks:
        raise FigureError(
            "The geometry is unknown: no pixel belongs to a visual token.", "Use .npz or .csv."
        )
    written = []
    for name, (image, index, layer) in png_names(numbers, path).items():
        about = dict(numbers.metadata) | {"image": image, "layer": layer}
        about["layers"] = [layer]
        pixels = numbers.arrays[f"image{image + 1}_pixels"][index]
        written.append(write_whole(name, _png(pixels, about)))
    return [*written, write_whole(*beside)]


def png_names(numbers: Numbers, path: str | os.PathLike[str]) -> dict[Path, tuple[int, int, int]]:
    """The mask files beside each other, NAME-L03.png, with several images NAME-L03-image2.png, and
    of each the image (from 0), the index of the layer, and the layer."""
    path = Path(path)
    images = [
        int(name.removeprefix("image").partition("_")[0]) - 1
        for name in numbers.arrays
        if name.endswith("_pixels")
    ]
    several = len(images) > 1 or images != [0]
    found = {}
    for index, layer in enumerate(numbers.arrays["layers"].tolist()):
        for image in images:
            suffix = f"-image{image + 1}" if several else ""
            name = path.with_name(f"{path.stem}-L{layer:02d}{suffix}{path.suffix}")
            found[name] = (image, index, layer)
    return found


def files_of_numbers(numbers: Numbers, path: str | os.PathLike[str]) -> list[Path]:
    """The files that `save_numbers` would write."""
    path = Path(path)
    if path.suffix.lower() == ".npz":
        return [path]
    named = list(png_names(numbers, path)) if path.suffix.lower() == ".png" else [path]
    return [*named, path.with_suffix(".json")]


def _rows(
    reading: Reading,
    rows: npt.NDArray[np.float32],
    quantity: Quantity,
    layers: Sequence[int],
    heads: Sequence[int],
) -> npt.NDArray[np.float32]:
    """(layers, heads, V)."""
    picked = np.ix_(np.array(layers), np.array(heads), reading.positions)
    found = rows[picked]
    if quantity == "contribution":
        found = found * reading.run.value_norm()[picked]
    return np.asarray(found, dtype=np.float32)


def _sinks_of(reading: Reading, layers: Sequence[int]) -> Arrays:
    """Phi and sinks of the visual tokens, (layers, V)."""
    picked = np.ix_(np.array(layers), reading.positions)
    return {"phi": reading.phi[picked], "sinks": (reading.sinks & reading.visual)[picked]}


def _places(layout: VisualLayout) -> Arrays:
    cells = [layout.cell_of(k) or (-1, -1, -1) for k in range(layout.count)]
    views = {f"view{i}_tokens": view.tokens for i, view in enumerate(layout.views)}
    found: Arrays = {
        "positions": layout.positions,
        "cells": np.asarray(cells, dtype=np.int64).reshape(-1, 3),
        "boxes": layout.boxes,
        **(views if layout.known else {}),
    }
    return found


def _listed(layout: VisualLayout, image: int | None, view: int | None) -> npt.NDArray[np.int64]:
    """The visual tokens of an image, of a view, or with neither all of them."""
    if not layout.known or image is view is None:
        return np.arange(layout.count)
    views = [
        index
        for index, each in enumerate(layout.views)
        if (each.image == image if view is None else index == view)
    ]
    cells = np.concatenate([layout.views[index].tokens.ravel() for index in views])
    return np.unique(cells[cells >= 0]).astype(np.int64)


def _place_columns(arrays: Arrays, k: npt.NDArray[np.int64]) -> Arrays:
    """Which visual token a line is of, and where it lies."""
    view, row, col = arrays["cells"][k].T
    left, top, right, bottom = arrays["boxes"][k].T
    named = {"visual_token": k, "position": arrays["positions"][k]}
    named |= {"view": view, "row": row, "col": col}
    return named | {"left": left, "top": top, "right": right, "bottom": bottom}


def _pixels(
    layout: VisualLayout, image: int, views: Sequence[int], sinks: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """(layers, height, width): the pixels whose middle lies in the cell of a sink."""
    width, height = layout.image_sizes[image]
    found = np.zeros((len(sinks), height, width), dtype=bool)
    for index in views:
        x, y = layout.views[index].edges()
        # From which pixel on the middles lie beyond an edge.
        starts = np.clip(np.ceil(x - 0.5), 0, width).astype(int)
        tops = np.clip(np.ceil(y - 0.5), 0, height).astype(int)
        for (row, col), k in np.ndenumerate(layout.views[index].tokens):
            if k >= 0 and sinks[:, k].any():
                at = np.s_[tops[row] : tops[row + 1], starts[col] : starts[col + 1]]
                found[:, at[0], at[1]] |= sinks[:, k, None, None]
    return found


def _png(mask: npt.NDArray[np.bool_], about: Mapping[str, Any]) -> bytes:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Title", "visual sinks")
    info.add_text("Software", "VAR Studio")
    info.add_text("Description", json.dumps(dict(about), sort_keys=True, ensure_ascii=True))
    buffer = io.BytesIO()
    shown = Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0)))
    shown.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _about(
    reading: Reading, name: str, layers: Sequence[int], heads: Sequence[int] | None
) -> dict[str, Any]:
    found = origin(name, reading) | {"layers": list(layers)}
    found.pop("heads")
    found.pop("layer")
    if len(layers) == 1:
        found["layer"] = layers[0]
    if heads is not None:
        found["heads"] = list(heads)
        if len(heads) == 1:
            found["head"] = heads[0]
        found.pop("aggregate")
    return found


def _rule(reading: Reading) -> str:
    sign = "≥" if rules(reading.settings.convention).sink_at_tau else ">"
    return f"φ {sign} τ, {reading.settings.convention} convention"


def _chosen(what: str, given: Sequence[int] | None, count: int) -> list[int]:
    if isinstance(given, str):
        raise VarStudioError(f"{given!r} is no list of a {what}.", "Give numbers, or None: all.")
    found: list[int] = indices(what, given, count).tolist()
    return found


def _any_row(run: Recording) -> int:
    rows = run.query_positions
    if not len(rows):
        raise VarStudioError("The run recorded no row.", "Choose another run.")
    return int(rows[-1])


def _check_lines(count: int) -> None:
    if count > _MOST_LINES:
        raise VarStudioError(
            f"A table would have {count:,} lines.", "Write NPZ, or choose fewer layers and heads."
        )
