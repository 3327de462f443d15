"""Where each visual token lies in the original image: seen by painting it, and by coordinates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import var_studio as vs
from tests.models.tiny import noise_pixels, save_checkpoint

KINDS = ["crop", "pad", "squash", "oversize"]
DYE_SIZES = [(200, 120), (97, 160), (150, 150), (61, 48)]


@contextmanager
def no_mixing(hf_model: Any) -> Iterator[None]:
    """Silence the vision tower's attention: then a token depends on its own patch alone."""
    projections = [
        module.out_proj
        for module in hf_model.model.vision_tower.modules()
        if hasattr(module, "out_proj")
    ]
    assert projections
    kept = [(p.weight.detach().clone(), p.bias.detach().clone()) for p in projections]
    try:
        with torch.no_grad():
            for projection in projections:
                projection.weight.zero_()
                projection.bias.zero_()
        yield
    finally:
        with torch.no_grad():
            for projection, (weight, bias) in zip(projections, kept, strict=True):
                projection.weight.copy_(weight)
                projection.bias.copy_(bias)


def features(lmm: Any, pixels: Any) -> Any:
    """Visual tokens (V, D) as the language model gets them."""
    inputs = lmm.encode(Image.fromarray(pixels), "?").inputs
    with torch.inference_mode():
        image = lmm.hf_model.get_image_features(
            inputs["pixel_values"],
            vision_feature_layer=lmm.hf_model.config.vision_feature_layer,
            vision_feature_select_strategy=lmm.hf_model.config.vision_feature_select_strategy,
            return_dict=True,
        )
    return torch.cat(list(image.pooler_output)).numpy()


def painted(pixels: Any, box: Any) -> Any:
    """The picture with a box (rounded to whole pixels) in plain red."""
    left, top, right, bottom = (round(float(v)) for v in box)
    copy = pixels.copy()
    copy[top : max(bottom, top + 1), left : max(right, left + 1)] = (255, 0, 0)
    return copy


def dye_hits(lmm: Any, size: tuple[int, int], boxes: Any, tokens: list[int]) -> int:
    """In how many cases the token whose box was painted changed most of all."""
    pixels = noise_pixels(*size)
    before = features(lmm, pixels)
    hits = 0
    for token in tokens:
        change = np.abs(features(lmm, painted(pixels, boxes[token])) - before).sum(-1)
        hits += int(change.argmax()) == token
    return hits


@pytest.mark.parametrize("kind", [*KINDS, "full", "demo"])
def test_painting_a_box_changes_its_token_most(loaded: Any, kind: str) -> None:
    lmm = loaded(kind)
    with no_mixing(lmm.hf_model):
        for size in DYE_SIZES:
            layout = lmm.encode(Image.fromarray(noise_pixels(*size)), "?").layout
            assert layout.known
            view = layout.views[0]
            whole = _well_inside(layout, view)
            chosen = np.random.default_rng(0).permutation(whole)[:6].tolist()
            assert len(chosen) == 6
            assert dye_hits(lmm, size, layout.boxes, chosen) == 6, size
            # Negative controls: the same test fails for a wrong map.
            grid = view.tokens
            transposed, shifted = layout.boxes.copy(), layout.boxes.copy()
            transposed[grid.ravel()] = layout.boxes[grid.T.ravel()]
            shifted[grid.ravel()] = layout.boxes[np.roll(grid, 1, axis=1).ravel()]
            off_diagonal = [t for t in chosen if len(set(layout.cell_of(t)[1:])) == 2]
            assert dye_hits(lmm, size, np.nan_to_num(transposed), off_diagonal) == 0
            assert dye_hits(lmm, size, np.nan_to_num(shifted), chosen) == 0


def _well_inside(layout: Any, view: Any) -> Any:
    """Tokens whose cell lies in the image by at least 90 %."""
    cell = (view.box[2] - view.box[0]) / view.cols * (view.box[3] - view.box[1]) / view.rows
    boxes = np.nan_to_num(layout.boxes)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.flatnonzero(area >= 0.9 * cell)


def _sizes() -> list[tuple[int, int]]:
    """103 sizes: small and large, portrait and landscape, odd, extreme ratios.

    Not 337: Pillow's filter bends a picture by up to 0.3 px (0.021 cell) when it takes out one
    pixel in 336.
    """
    sides = [33, 60, 97, 150, 211, 336, 351, 400, 500, 701]
    grid = [(w, h) for w in sides for h in sides]
    return [*grid, (1024, 768), (1600, 40), (40, 1600)]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """LLaVA-1.5's own geometry: 336 px, patches of 14, 24 x 24 tokens."""
    models: dict[str, Any] = {}

    def get(kind: str) -> Any:
        if kind not in models:
            folder = save_checkpoint(
                tmp_path_factory.mktemp(kind), kind=kind, side=336, patch=14, layers=1
            )
            models[kind] = vs.load_model(folder)
        return models[kind]

    yield get
    for model in models.values():
        model.release()


def recovered(lmm: Any, size: tuple[int, int], layout: Any) -> tuple[Any, Any]:
    """Centres of all tokens in the original, read off a picture whose colours are coordinates.

    Three pictures: one says x, one y, and one where the picture ends (padding is not white).
    Colours have 256 levels only: dithered, so that the mean over a few cells is exact.
    """
    width, height = size
    rng = np.random.default_rng(1)
    left, top, right, bottom = layout.views[0].box
    # The ramps span the part that is seen, and some more: 255 levels go further there.
    from_x, to_x = max(left - 2, 0.0), min(right + 2, float(width))
    from_y, to_y = max(top - 2, 0.0), min(bottom + 2, float(height))
    x = np.clip((np.arange(width) + 0.5 - from_x) / (to_x - from_x), 0, 1)
    y = np.clip((np.arange(height) + 0.5 - from_y) / (to_y - from_y), 0, 1)
    x, y = np.broadcast_arrays(x[None, :], y[:, None])
    planes = []
    for plane in (x, y, np.ones((height, width))):
        dithered = np.floor(plane * 255 + rng.random(plane.shape) * (plane < 1))
        pixels = np.repeat(dithered.astype(np.uint8)[..., None], 3, axis=-1)
        planes.append(_patch_means(lmm, pixels))
    inside = planes[2] > 0.999
    found = planes[0] * (to_x - from_x) + from_x, planes[1] * (to_y - from_y) + from_y
    return np.stack(found, -1), inside


def _patch_means(lmm: Any, pixels: Any) -> Any:
    """Mean of each patch as the vision tower sees it, 0..1, in raster order."""
    processor = lmm.processor.image_processor
    values = processor(images=Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
    values = values[0] * processor.image_std[0] + processor.image_mean[0]
    patch = lmm.hf_model.config.vision_config.patch_size
    rows, cols = (n // patch for n in values.shape)
    return values.reshape(rows, patch, cols, patch).mean((1, 3)).ravel()


@pytest.mark.parametrize("kind", ["crop", "pad", "squash"])
def test_centres_of_tokens_are_where_the_colours_say(large: Any, kind: str) -> None:
    """Error at most 0.02 of a cell over at least 60 image sizes."""
    lmm = large(kind)
    checked = 0
    for size in _sizes():
        layout = lmm.family.layout(
            lmm.hf_model,
            lmm.processor,
            [size],
            {"pixel_values": torch.zeros(1, 3, 336, 336)},
            range(24 * 24),
        )
        view = layout.views[0]
        xs, ys = view.edges()
        centres = np.stack(
            np.broadcast_arrays(
                ((xs[1:] + xs[:-1]) / 2)[None, :], ((ys[1:] + ys[:-1]) / 2)[:, None]
            ),
            -1,
        ).reshape(-1, 2)
        seen, inside = recovered(lmm, size, layout)
        # The resize blends the outermost colours: judge cells away from the border.
        cell = np.array([xs[1] - xs[0], ys[1] - ys[0]])
        away = inside & ((centres > 2 * cell) & (centres < np.array(size) - 2 * cell)).all(-1)
        if away.sum() < 4:
            continue
        for axis in (0, 1):
            true, found = centres[away, axis] / cell[axis], seen[away, axis] / cell[axis]
            assert np.abs(found - true).max() <= 0.3, (size, "a cell is elsewhere")
            # The map is linear: a line through all cells leaves the colours' noise behind.
            if np.ptp(true) < 3:
                line = [1.0, float((found - true).mean())]
            else:
                line = np.polyfit(true, found, 1).tolist()
            worst = np.abs(np.polyval(line, true) - true).max()
            assert worst <= 0.02, (size, axis, worst)
        checked += 1
    assert checked >= 60


def test_unseen_strips_and_boxes_fill_the_image(loaded: Any) -> None:
    """Boxes of tokens and unseen strips together cover every pixel once."""
    for kind in KINDS:
        for size in [(120, 60), (60, 120), (77, 77)]:
            layout = loaded(kind).encode(Image.fromarray(noise_pixels(*size)), "?").layout
            boxes = layout.boxes[~np.isnan(layout.boxes).any(-1)]
            area = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum()
            unseen = sum((r - x) * (b - y) for x, y, r, b in layout.unseen[0])
            assert area + unseen == pytest.approx(size[0] * size[1], rel=1e-9), (kind, size)
            assert (len(layout.unseen[0]) > 0) == (
                kind == "oversize" or (kind == "crop" and size[0] != size[1])
            )


def test_a_kept_class_token_has_no_box(loaded: Any) -> None:
    layout = loaded("full").encode(Image.fromarray(noise_pixels(50, 50)), "?").layout
    assert layout.count == 37
    assert np.isnan(layout.boxes[0]).all() and layout.cell_of(0) is None
    assert not np.isnan(layout.boxes[1:]).any()
    assert layout.mask(80).sum() == 36


def test_two_images_have_a_view_each(loaded: Any, tmp_path: Path) -> None:
    lmm = loaded("pad")
    images = [Image.fromarray(noise_pixels(60, 40)), Image.fromarray(noise_pixels(40, 60))]
    layout = lmm.encode(images, "compare them").layout
    assert layout.image_sizes == ((60, 40), (40, 60))
    assert [view.image for view in layout.views] == [0, 1]
    assert layout.views[1].tokens.min() == 36 and layout.count == 72
    run = vs.record(
        lmm,
        images,
        "compare them",
        generation=vs.Generation(max_new_tokens=2),
        directory=tmp_path / "run",
    )
    # The instruction begins after the first image token, as a separator between them does.
    assert run.attention(0).shape[-1] == run.length
