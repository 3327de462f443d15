"""What LLaVA-NeXT and LLaVA-OneVision do beyond one picture in whole tiles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import var_studio as vs
from tests.models.families import kit
from tests.models.families.case_llava_next import packed
from tests.models.families.case_llava_onevision import of_one_tile
from tests.models.families.cases import CASES

Get = Callable[[str], Any]
ONEVISION = "llava-onevision"


def test_a_line_of_pixels_leaves_no_row_in_its_tiles(family: Get, tmp_path: Path) -> None:
    lmm = family("llava-next")
    for size, views in [((9000, 2), ["whole image"]), ((1, 1), ["whole image", "tiles"])]:
        run = vs.record(
            lmm, Image.new("RGB", size), "?", generation=vs.Generation(max_new_tokens=2),
            directory=tmp_path / str(size[0]),
        )  # fmt: skip
        assert [view.name for view in run.layout.views] == views
        assert run.layout.unseen == ((),)


def test_a_processor_with_other_grids_is_refused(tmp_path: Path) -> None:
    folder = CASES["llava-next"].save(tmp_path)
    path = folder / "processor_config.json"
    config = json.loads(path.read_text())
    config["image_processor"]["image_grid_pinpoints"].reverse()
    path.write_text(json.dumps(config))
    with pytest.raises(vs.VarStudioError, match="other grids"):
        vs.load_model(folder)


@pytest.mark.parametrize("size", [(100, 100), (150, 100), (200, 150)])
def test_what_is_said_to_be_unseen_is(family: Get, size: tuple[int, int]) -> None:
    """At scale one; the resize of the whole image blends a little over its border."""
    lmm, case = family(ONEVISION), CASES[ONEVISION]
    pixels = kit.noise(*size)
    encoded = lmm.encode(Image.fromarray(pixels), "?")
    unseen = np.zeros(size[::-1], dtype=bool)
    for left, top, right, bottom in encoded.layout.unseen[0]:
        unseen[round(top) : round(bottom), round(left) : round(right)] = True
    assert 0 < unseen.mean() < 0.1
    with kit.without_mixing(case, lmm.hf_model):
        before = kit.embedded(case, lmm, encoded)

        def change(where: Any) -> float:
            copy = pixels.copy()
            copy[where] = 255 - copy[where]
            after = kit.embedded(case, lmm, lmm.encode(Image.fromarray(copy), "?"))
            return float(np.abs(after - before).sum())

        hidden = change(unseen)
        # The same pattern a little further in is seen.
        assert hidden < 0.02 * change(np.roll(unseen, (-3, -3), axis=(0, 1)))
        rng = np.random.default_rng(0)
        for y, x in np.argwhere(~unseen)[rng.permutation((~unseen).sum())[:12]]:
            assert change((slice(y, y + 1), slice(x, x + 1))) > 0.01


def test_cells_of_several_images_end_before_the_unseen_rest(family: Get) -> None:
    """Centres from the processor's pixels of ramps; an off-by-two-pixels map is clearly wrong."""
    lmm = family(ONEVISION)
    tower = lmm.hf_model.config.vision_config
    side, patch = tower.image_size, tower.patch_size
    cells = side // patch
    assert side - cells * patch == 2
    sizes = [(200, 200), (300, 180), (160, 250)]
    for axis in (0, 1):
        pictures = []
        for size in sizes:
            ramp = np.broadcast_to(np.linspace(0, 255, size[axis]), size[:: 2 * axis - 1])
            plane = ramp if axis == 0 else ramp.T
            pictures.append(Image.fromarray(np.repeat(plane.astype(np.uint8)[..., None], 3, -1)))
        assert [picture.size for picture in pictures] == sizes
        encoded = lmm.encode(pictures, "?")
        layout = encoded.layout
        made = lmm.processor.image_processor
        red = encoded.inputs["pixel_values"][:, 0, 0].numpy() * made.image_std[0]
        red += made.image_mean[0]
        for image, (view, size) in enumerate(zip(layout.views, sizes, strict=True)):
            assert view.image == image and (view.rows, view.cols) == (cells, cells)
            blocks = red[image, : cells * patch, : cells * patch]
            seen = blocks.reshape(cells, patch, cells, patch).mean((1, 3)) * size[axis]
            edges = view.edges()[axis]
            centres = (edges[1:] + edges[:-1]) / 2
            cell = edges[1] - edges[0]
            # Cells that the picture's own border or the padding runs through are not judged.
            inside = (edges[:-1] >= 0.2 * cell) & (edges[1:] <= size[axis] - 0.2 * cell)
            assert inside.sum() >= 2
            across = seen[cells // 2] if axis == 0 else seen[:, cells // 2]
            np.testing.assert_allclose(across[inside], centres[inside], atol=0.04 * cell)
            wrong = centres + (np.arange(cells) + 0.5) * cell * (side / (cells * patch) - 1)
            assert np.abs(across - wrong)[inside].max() > 0.1 * cell


def test_tokens_of_two_tiles_are_close_to_where_they_look(tmp_path: Path) -> None:
    """The shrinking blends cells from both sides of a seam: off by at most a fifth of a cell."""
    case = CASES[ONEVISION]
    assert case.fine is not None
    lmm = vs.load_model(case.fine(tmp_path))
    width, height = 1600, 1300
    across = np.linspace(0, 255, width)[None, :, None] + np.zeros((height, 1, 3))
    dithered = across + np.random.default_rng(0).random((height, width, 1))
    picture = Image.fromarray(np.minimum(dithered, 255).astype(np.uint8))
    features, tiles = packed(lmm, picture)
    boxes = lmm.encode(picture, "?").layout.boxes
    blended = (of_one_tile(features, tiles) < 0) & np.isfinite(boxes[:, 0])
    inside = blended & (features[:, 1] > 0.999)
    x = features[inside, 0] * (width - 1) + 0.5
    centre = (boxes[inside, 0] + boxes[inside, 2]) / 2
    cell = np.median(boxes[inside, 2] - boxes[inside, 0])
    assert inside.sum() > 100
    assert np.abs(x - centre).max() < 0.2 * cell


def test_several_pictures_are_seen_once_each(family: Get) -> None:
    """Each padded to a square; painted boxes change their tokens, and wrong ones do not."""
    lmm, case = family(ONEVISION), CASES[ONEVISION]
    pictures = [kit.noise(150, 100), kit.noise(90, 130, seed=5)]

    def encode(*pixels: Any) -> Any:
        return lmm.encode([Image.fromarray(p) for p in pixels], "?")

    encoded = encode(*pictures)
    layout = encoded.layout
    assert [view.image for view in layout.views] == [0, 1]
    rng = np.random.default_rng(0)
    with kit.without_mixing(case, lmm.hf_model):
        before = kit.embedded(case, lmm, encoded)
        for view in layout.views:
            own = view.tokens.ravel()
            for token in rng.permutation(kit.well_inside(layout, view))[:6].tolist():
                transposed = int(view.tokens.T.ravel()[own.tolist().index(token)])
                for box_of, right in ((token, True), (transposed, transposed == token)):
                    box = layout.boxes[box_of]
                    if np.isnan(box).any():
                        continue
                    changed = list(pictures)
                    changed[view.image] = kit.painted(pictures[view.image], box)
                    change = np.abs(kit.embedded(case, lmm, encode(*changed)) - before).sum(-1)
                    assert (int(change.argmax()) == token) == right
