"""What every family is put through: a case says how to make a tiny checkpoint, the kit does it.

Nothing here asks the family's own code where a token is: truth comes from plain `generate`, eager
attention, hooks, painted pictures, and pictures whose colours are coordinates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from tests.models.slow_loop import every_query

QUESTION = "what is left of the red circle?"
DIMS = (5, 17)

Array = npt.NDArray[Any]
Picture = Array
"""(height, width, 3) uint8."""

# Output projections of attention, as vision towers name them.
_MIXING = re.compile(r"attn|attention", re.IGNORECASE)
_OUTPUTS = ("out_proj", "o_proj", "proj", "wo", "projection_layer", "dense")


@dataclass(frozen=True)
class Case:
    """A family, or a variant of one.

    `save(folder)` writes a tiny random checkpoint with the real classes: text layers 2 to 4, heads
    at least 4, key heads fewer where the family has it, weights spread so that attention is far
    from uniform (`initializer_range` 0.1 or more), `DIMS` inside the hidden size.
    """

    name: str
    save: Callable[[Path], Path]
    fine: Callable[[Path], Path] | None = None
    """Writes the same with the grid of real checkpoints and one layer, for the coordinate test."""
    dye_sizes: Sequence[tuple[int, int]] = ((150, 110), (90, 140), (120, 120))
    coordinate_sizes: Sequence[tuple[int, int]] = ()
    """At least 60 (width, height) for the coordinate test; empty: `default_sizes`."""
    means: Callable[[Any, Image.Image], tuple[Array, Array]] | None = None
    """(lmm, picture) -> for each of the V visual tokens the mean of the red channel (0..1, before
    normalisation) over the pixels that it was made from, and whether all of these lie inside the
    picture. Written from the processor's pixels or with hooks, never with the family's layout.
    NaN for a token that is no patch."""
    silence: Callable[[Any], list[torch.nn.Module]] | None = None
    """The linear layers that mix tokens in the vision part; None: every attention output found."""
    views: Callable[[Any, tuple[int, int]], int] | None = None
    """(lmm, size) -> number of views that a picture of this size must have."""
    var: dict[str, Any] = field(
        default_factory=lambda: {
            "sink_dims": DIMS, "tau": 1.6, "rho": 0.6, "p": 0.6, "mass_min": 0.3,
        }
    )  # fmt: skip
    """Settings under which some heads are redistributed and others are not."""
    embedded: Callable[[Any, Any], Array] | None = None
    """(lmm, encoded) -> visual tokens (V, D) as the decoder reads them; None: as they enter its
    first layer."""
    cross: Callable[[Any, Any], tuple[list[int], Array]] | None = None
    """(lmm, encoded) -> the cross-attention layers, and which of their keys, in order, are visual
    tokens. For one image: in a recording they stand right after its placeholder."""
    phi: bool = True
    known: bool = True
    """False: nothing is claimed about where a token looks, and nothing is proved about it."""
    multi_image: bool = True
    alone: bool = True
    """Whether each of several pictures is laid out as it is alone."""


def noise(width: int, height: int, seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def default_sizes() -> list[tuple[int, int]]:
    """Portrait, landscape, square, odd, tiny and extreme."""
    sides = [33, 97, 150, 211, 280, 336, 351, 500, 640]
    return [*((w, h) for w in sides for h in sides), (1024, 768), (1200, 60), (60, 1200)]


# ------------------------------------------------------------------------------------ the dye


@contextmanager
def without_mixing(case: Case, hf_model: Any) -> Iterator[None]:
    """Silence attention in the vision part: then a token depends on its own pixels alone."""
    layers = _mixing_layers(hf_model) if case.silence is None else case.silence(hf_model)
    assert layers, "no attention was found in the vision part"
    weights = [p for layer in layers for p in (layer.weight, layer.bias) if p is not None]
    kept = [p.detach().clone() for p in weights]
    try:
        with torch.no_grad():
            for p in weights:
                p.zero_()
        yield
    finally:
        with torch.no_grad():
            for p, old in zip(weights, kept, strict=True):
                p.copy_(old)


def _mixing_layers(hf_model: Any) -> list[torch.nn.Module]:
    text = set(hf_model.get_decoder().modules())
    return [
        module
        for name, module in hf_model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and module not in text
        and name.rsplit(".", 1)[-1] in _OUTPUTS
        and _MIXING.search(name)
    ]


class _Enough(Exception):
    pass


def embedded(case: Case, lmm: Any, encoded: Any) -> Array:
    """Visual tokens (V, D) as they enter the decoder."""
    if case.embedded is not None:
        return case.embedded(lmm, encoded)
    found: list[torch.Tensor] = []

    def hook(module: Any, args: Any, kwargs: Any) -> None:
        found.append(args[0] if args else kwargs["hidden_states"])
        raise _Enough

    handle = lmm.decoder_layers[0].register_forward_pre_hook(hook, with_kwargs=True)
    try:
        with torch.inference_mode():
            lmm.hf_model(**encoded.inputs, use_cache=False)
    except _Enough:
        pass
    finally:
        handle.remove()
    return found[0][0, encoded.layout.positions].float().numpy()


def painted(pixels: Picture, box: Any) -> Picture:
    """The picture with a box (rounded to whole pixels) in plain red."""
    left, top, right, bottom = (round(float(v)) for v in box)
    copy = pixels.copy()
    copy[top : max(bottom, top + 1), left : max(right, left + 1)] = (255, 0, 0)
    return copy


def well_inside(layout: Any, view: Any) -> list[int]:
    """Tokens of a view whose cell lies in the image by at least 90 %."""
    cell = (view.box[2] - view.box[0]) / view.cols * (view.box[3] - view.box[1]) / view.rows
    boxes = np.nan_to_num(layout.boxes)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return [int(k) for k in view.tokens.ravel() if k >= 0 and area[k] >= 0.9 * cell]


def dye_hit(
    case: Case,
    lmm: Any,
    pixels: Picture,
    before: Array,
    layout: Any,
    view: Any,
    token: int,
    box: Any,
) -> bool:
    """Whether, in its view, `token` changes most when `box` of the picture is painted."""
    after = embedded(case, lmm, lmm.encode(Image.fromarray(painted(pixels, box)), "?"))
    change = np.abs(after - before).sum(-1)
    own = view.tokens[view.tokens >= 0]
    return int(own[change[own].argmax()]) == token


# -------------------------------------------------------------------------- the coordinates


def worst_centre_error(case: Case, lmm: Any, size: tuple[int, int]) -> tuple[float, int]:
    """Largest error of token centres, in cells, over all views of a picture of `size`; and the
    number of tokens judged.

    Three pictures say where their pixels are: one by x, one by y, one where the picture ends.
    Colours have 256 levels: dithered, so that means over a cell are exact. The map from pixels to
    tokens is linear in each view: a line through all cells leaves the colours' noise behind.
    """
    assert case.means is not None
    width, height = size
    layout = lmm.encode(Image.new("RGB", size), "?").layout
    assert layout.known
    rng = np.random.default_rng(1)
    # The ramps span what is seen, and a little more: 255 levels go further there.
    boxes = np.array([view.box for view in layout.views])
    left, top = np.maximum(boxes[:, :2].min(0) - 2, 0)
    right, bottom = np.minimum(boxes[:, 2:].max(0) + 2, (width, height))
    x = np.clip((np.arange(width) + 0.5 - left) / (right - left), 0, 1)
    y = np.clip((np.arange(height) + 0.5 - top) / (bottom - top), 0, 1)
    x, y = np.broadcast_arrays(x[None, :], y[:, None])
    found = []
    inside = None
    for plane in (x, y):
        dithered = np.floor(plane * 255 + rng.random(plane.shape) * (plane < 1)).astype(np.uint8)
        picture = Image.fromarray(np.repeat(dithered[..., None], 3, axis=-1))
        values, whole = case.means(lmm, picture)
        found.append(values)
        inside = whole if inside is None else inside & whole
    worst, judged = 0.0, 0
    for view in layout.views:
        xs, ys = view.edges()
        grid = view.tokens
        keep = (grid >= 0) & inside[np.maximum(grid, 0)]
        true_x = np.broadcast_to(((xs[1:] + xs[:-1]) / 2)[None, :], grid.shape)
        true_y = np.broadcast_to(((ys[1:] + ys[:-1]) / 2)[:, None], grid.shape)
        cell = xs[1] - xs[0], ys[1] - ys[0]
        # The resize blends the outermost colours: judge cells away from the border.
        away = (
            keep
            & (true_x > 2 * cell[0]) & (true_x < width - 2 * cell[0])
            & (true_y > 2 * cell[1]) & (true_y < height - 2 * cell[1])
        )  # fmt: skip
        if away.sum() < 4:
            continue
        ramps = (true_x, left, right), (true_y, top, bottom)
        for axis, (true, start, end) in enumerate(ramps):
            expected = true[away] / cell[axis]
            seen = (found[axis][grid[away]] * (end - start) + start) / cell[axis]
            if np.abs(seen - expected).max() > 0.3:
                return float(np.abs(seen - expected).max()), int(away.sum())
            line = (
                [1.0, float((seen - expected).mean())]
                if np.ptp(expected) < 3
                else np.polyfit(expected, seen, 1)
            )
            worst = max(worst, float(np.abs(np.polyval(line, expected) - expected).max()))
        judged += int(away.sum())
    return worst, judged


# ---------------------------------------------------------------------------- plain generate


@contextmanager
def kernel(hf_model: Any, name: str) -> Iterator[None]:
    """The whole model on one of transformers' own attention kernels."""
    parts = [part for part in hf_model.config.sub_configs if getattr(hf_model.config, part, None)]
    former = {part: getattr(hf_model.config, part)._attn_implementation for part in parts}
    former[""] = hf_model.config._attn_implementation  # the model's own, above its parts
    try:
        hf_model.set_attn_implementation(name)
        yield
    finally:
        hf_model.set_attn_implementation(former)


def plain_generate(lmm: Any, encoded: Any, steps: int, **options: Any) -> Any:
    """The model class' own greedy `generate`, scores and all.

    All of the prompt goes through all layers: where Gemma 4 would leave that out, bits differ.
    """
    with every_query(lmm.hf_model):
        return type(lmm.hf_model).generate(
            lmm.hf_model,
            **encoded.inputs,
            max_new_tokens=steps,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            **options,
        )


class Rows:
    """Where the weights of plain attention stand in a recording of one image and question."""

    def __init__(self, case: Case, lmm: Any, encoded: Any) -> None:
        ids = encoded.inputs["input_ids"][0].tolist()
        self.prompt_length = len(ids)
        self._layers: list[int] = []
        self._keys = np.zeros(0, dtype=np.int64)
        self._first = len(ids)
        if case.cross is not None:
            self._layers, self._keys = case.cross(lmm, encoded)
            self._first = ids.index(lmm.hf_model.config.image_token_id) + 1

    def of_model(self, position: int) -> int:
        """Position of the model of a position in the recording behind the images."""
        return position - len(self._keys)

    def recorded(self, layer: int, row: Array, end: int, length: int) -> Array:
        """A row (H, K), whose last key is position end - 1 of the model, as (H, length)."""
        expected = np.zeros((len(row), length), dtype=row.dtype)
        visual = self._first + np.arange(len(self._keys))
        if layer in self._layers:
            expected[:, visual] = row[:, self._keys]
            return expected
        # A window keeps the last keys; the prefill has them all.
        keys = np.arange(end - row.shape[1], end)
        expected[:, keys + len(self._keys) * (keys >= self._first)] = row
        return expected
