"""LLaVA-NeXT: the whole image squashed, then the same image in tiles of full resolution.

Geometry ("anyres"): of the checkpoint's grids the one that fits best is the canvas. The image is
resized to it, its aspect kept, centred, and the canvas cut into tiles that the tower sees one by
one. The model lays the tiles' features side by side again, drops rows or columns of padding, and
ends each row with a newline token. LLaVA-1.5-HD is the same with tiles of 224 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from var_studio.models.errors import UnsupportedModelError
from var_studio.models.families.geometry import (
    check_count,
    edge,
    laid_out,
    raster,
    uncovered,
    unknown,
)
from var_studio.models.families.llava import Llava
from var_studio.recording.layout import Box, View, VisualLayout

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Axis:
    """The canvas in one direction: original pixels, canvas pixels, cells of tiles, tokens.

    A canvas pixel is original pixel * `scale` + `start`. A tile has `pitch` canvas pixels and
    `cells` cells of `patch` pixels; what is left at its end is not seen. The model keeps `kept`
    cells of all tiles in a row, from `first` on, and makes `tokens` tokens of them.
    """

    scale: float
    start: int
    pitch: int
    cells: int
    patch: int
    first: int
    kept: int
    tokens: int

    def original(self, tile: int, cell: float) -> float:
        """Take a cell border of a tile (0 to `cells`) back to the original image."""
        return (tile * self.pitch + cell * self.patch - self.start) / self.scale

    def spans(self) -> Iterator[tuple[int, int, int, float, float]]:
        """Runs of evenly spaced tokens: (tile, first token, end token, start, end in pixels).

        One run if tiles join without a gap. Else one for each tile; a token that is blended over
        a gap belongs to the tile that holds its centre.
        """
        if not self.tokens:
            return
        step = self.kept / self.tokens  # cells a token
        if self.pitch == self.cells * self.patch:
            yield 0, 0, self.tokens, self.original(0, self.first), self.original(0, self._end)
            return
        tiles = [int((self.first + (k + 0.5) * step) // self.cells) for k in range(self.tokens)]
        for tile in sorted(set(tiles)):
            begin = tiles.index(tile)
            end = begin + tiles.count(tile)
            borders = (self.first + k * step - tile * self.cells for k in (begin, end))
            start, stop = (self.original(tile, border) for border in borders)
            yield tile, begin, end, start, stop

    def seen(self) -> Iterator[tuple[float, float]]:
        """Stretches of the original image whose cells are kept."""
        for tile in range(self.first // self.cells, math.ceil(self._end / self.cells)):
            low = max(self.first - tile * self.cells, 0)
            high = min(self._end - tile * self.cells, self.cells)
            yield self.original(tile, low), self.original(tile, high)

    @property
    def _end(self) -> int:
        return self.first + self.kept


class LlavaNext(Llava):
    """Any `LlavaNextForConditionalGeneration`, LLaVA-1.5-HD in that form too."""

    name = "llava-next"
    model_types = ("llava_next",)
    architecture = "LlavaNextForConditional"
    fallback_start = (
        "A chat between a curious human and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the human's questions. "
    )

    def prepare(self, hf_model: Any, processor: Any) -> None:
        """Besides what LLaVA-1.5 needs: the processor and the model choose from one list."""
        super().prepare(hf_model, processor)
        ours, theirs = processor.image_processor.image_grid_pinpoints, _pinpoints(hf_model)
        if [tuple(grid) for grid in ours] != [tuple(grid) for grid in theirs]:
            raise UnsupportedModelError(
                "The image processor cuts images into other grids than the model expects.",
                "Check image_grid_pinpoints in config.json and preprocessor_config.json.",
            )

    def shrunk(self, hf_model: Any, rows: int, cols: int) -> tuple[int, int]:
        """Rows and columns of tokens that the model makes of rows and columns of cells."""
        return rows, cols

    def layout(
        self,
        hf_model: Any,
        processor: Any,
        sizes: Sequence[tuple[int, int]],
        inputs: dict[str, torch.Tensor],
        positions: Sequence[int],
    ) -> VisualLayout:
        """For each image the whole of it, then its tiles; newline tokens have no box."""
        tower = hf_model.config.vision_config
        side, patch = int(tower.image_size), int(tower.patch_size)
        cells = side // patch
        if not _cuts_tiles_of(side, processor.image_processor):
            return unknown(sizes, positions)
        first = 0
        views: list[View] = []
        unseen = []
        for image, (width, height) in enumerate(sizes):
            part = cells * patch / side
            whole = (0.0, 0.0, width * part, height * part)
            views.append(View("whole image", image, whole, raster(cells, cells, first)))
            down, across = self._axes(hf_model, (width, height), side, cells, patch)
            views += _tile_views(image, down, across, first + cells * cells)
            first += cells * cells + down.tokens * (across.tokens + 1)
            seen = [(x[0], y[0], x[1], y[1]) for y in down.seen() for x in across.seen()]
            unseen.append(uncovered([whole, *seen], (width, height)))
        check_count(positions, first)
        return laid_out(sizes, positions, views, unseen)

    def _axes(
        self, hf_model: Any, size: tuple[int, int], side: int, cells: int, patch: int
    ) -> tuple[Axis, Axis]:
        """The canvas of an image, downwards and across."""
        from transformers.image_processing_utils import select_best_resolution

        width, height = size
        canvas_height, canvas_width = select_best_resolution((height, width), _pinpoints(hf_model))
        new_width, new_height = _fitted(width, height, canvas_width, canvas_height)
        rows, cols = canvas_height // side * cells, canvas_width // side * cells
        drop_rows, drop_cols = _padding(width, height, cols, rows)
        kept_rows, kept_cols = rows - 2 * drop_rows, cols - 2 * drop_cols
        token_rows, token_cols = self.shrunk(hf_model, kept_rows, kept_cols)
        down = Axis(
            new_height / height, (canvas_height - new_height) // 2,
            side, cells, patch, drop_rows, kept_rows, token_rows,
        )  # fmt: skip
        across = Axis(
            new_width / width, (canvas_width - new_width) // 2,
            side, cells, patch, drop_cols, kept_cols, token_cols,
        )  # fmt: skip
        return down, across


def _pinpoints(hf_model: Any) -> Any:
    return hf_model.config.image_grid_pinpoints


def _cuts_tiles_of(side: int, image_processor: Any) -> bool:
    """Whether tiles reach the tower as they are cut from the canvas, and in its size."""
    size, crop = image_processor.size, image_processor.crop_size
    tile = (crop and edge(crop, "height")) or edge(size, "height") or edge(size, "shortest_edge")
    edges = {edge(size, name) for name in ("height", "width", "shortest_edge")} - {None}
    if image_processor.do_center_crop:
        edges |= {edge(crop, "height"), edge(crop, "width")}
    return edges | {tile} == {side}


def _fitted(width: int, height: int, canvas_width: int, canvas_height: int) -> tuple[int, int]:
    """Size of an image resized into a canvas, as `get_patch_output_size` rounds it."""
    scale_x, scale_y = canvas_width / width, canvas_height / height
    if scale_x < scale_y:
        return canvas_width, min(math.ceil(height * scale_x), canvas_height)
    return min(math.ceil(width * scale_y), canvas_width), canvas_height


def _padding(width: int, height: int, cols: int, rows: int) -> tuple[int, int]:
    """Rows and columns of cells that `unpad_image` drops at each end."""
    if width / height > cols / rows:
        return (rows - int(round(height * (cols / width), 7))) // 2, 0
    return 0, (cols - int(round(width * (rows / height), 7))) // 2


def _tile_views(image: int, down: Axis, across: Axis, first: int) -> Iterator[View]:
    """One grid if tiles join without a gap, else one for each; a newline ends each row."""
    tokens = raster(down.tokens, across.tokens + 1, first)
    for row, top_token, bottom_token, top, bottom in down.spans():
        for col, left_token, right_token, left, right in across.spans():
            grid = tokens[top_token:bottom_token, left_token:right_token]
            name = "tiles" if grid.size == tokens[:, :-1].size else f"tile {row + 1},{col + 1}"
            box: Box = (left, top, right, bottom)
            yield View(name, image, box, grid)
