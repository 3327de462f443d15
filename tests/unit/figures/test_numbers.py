"""Maps and masks as arrays, against the session's own arrays and plain loops."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from PIL import Image

from var_studio.cli import main
from var_studio.errors import VarStudioError
from var_studio.figures.numbers import files_of_numbers, maps_of, masks_of, save_numbers
from var_studio.recording.layout import View, VisualLayout
from var_studio.recording.masks import load_mask
from var_studio.recording.recording import Recording
from var_studio.recording.session import open_session, save_session
from var_studio.recording.settings import Redistribution


def tokens(rows: int, cols: int, start: int) -> np.ndarray:
    return start + np.arange(rows * cols).reshape(rows, cols)


@pytest.fixture
def tiled(run: Recording, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """Two images: one with a thumbnail and two tiles (a cell without a token, edges between
    pixels), one padded; ten tokens that are no patch."""
    right = tokens(2, 3, 16)
    right[1, 2] = -1
    views = (
        View("thumbnail", 0, (0.0, 0.0, 101.0, 67.0), tokens(2, 2, 0)),
        View("left", 0, (0.0, 0.0, 50.5, 67.0), tokens(3, 4, 4)),
        View("right", 0, (50.5, 0.0, 101.0, 67.0), right),
        View("image", 1, (-5.0, 0.0, 55.0, 40.0), tokens(3, 3, 21)),
    )
    layout = VisualLayout(
        ((101, 67), (50, 40)), run.layout.positions, views, run.layout.boxes, ((), ())
    )
    monkeypatch.setattr(type(run), "layout", property(lambda _: layout))
    monkeypatch.setattr(type(run), "visual", property(lambda self: layout.mask(self.length)))
    return run


def test_maps_are_what_the_session_holds(run: Recording, tmp_path: Path) -> None:
    """before from zarr alone; after by Eq. 4 in plain loops, from zarr alone."""
    path = save_session(tmp_path / "s.vars", runs=[run])
    settings = Redistribution(tau=4.0, rho=0.4, p=0.6)
    with open_session(path) as session:
        chosen = [int(p) for p in session.runs[0].query_positions[[3, 7]]]
        numbers = maps_of(
            session.runs[0], tokens=chosen, layers=[2, 4], heads=[0, 3, 5], settings=settings
        )
        save_numbers(numbers, tmp_path / "maps.npz")
    group = zarr.open(zarr.storage.ZipStore(path, mode="r"), mode="r")["runs"][run.id]
    visual = np.array(group.attrs["layout"]["positions"])
    rows = np.asarray(group["attention"][:], dtype=np.float32)
    phi = np.abs(np.asarray(group["sink_dims_value"][:])).max(axis=-1)
    queries = run.query_positions
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as arrays:
        assert arrays["before"].shape == (2, 2, 3, len(visual))
        for n, position in enumerate(chosen):
            query = int(np.flatnonzero(queries == position)[0])
            for i, layer in enumerate([2, 4]):
                np.testing.assert_array_equal(arrays["phi"][i], phi[layer, visual])
                for j, head in enumerate([0, 3, 5]):
                    row = rows[query, layer, head]
                    np.testing.assert_array_equal(arrays["before"][n, i, j], row[visual])
                    expected = redistributed(row, phi[layer], visual, settings)
                    found = arrays["after"][n, i, j]
                    np.testing.assert_allclose(found, expected[visual], rtol=2e-5, atol=1e-9)
        assert not np.array_equal(arrays["before"], arrays["after"]), "some head is image-centric"
        about = json.loads(str(arrays["settings"]))
    assert about["rho"] == 0.4 and about["p"] == 0.6 and about["tau"] == 4.0
    assert about["convention"] == "paper" and about["quantity"] == "attention"
    assert about["run_id"] == run.id and about["heads"] == [0, 3, 5] and about["layers"] == [2, 4]
    assert [token["position"] for token in about["tokens"]] == chosen
    assert about["images"][0]["sha256"] == run.image_entries[0].sha256


def redistributed(row, phi, visual, settings):
    """One row by Eq. 3 and 4, key by key."""
    image = set(visual.tolist())
    seen = [k for k in range(len(row)) if row[k] > 0 or k in image]
    sinks = [k for k in seen if phi[k] >= settings.tau]
    mass = sum(float(row[k]) for k in image)
    clear = [k for k in image if k not in sinks]
    free = sum(float(row[k]) for k in clear)
    after = row.astype(np.float64).copy()
    if mass < settings.mass_min or free / mass < settings.rho:
        return after
    budget = sum(settings.p * float(row[k]) for k in sinks)
    for k in sinks:
        after[k] *= 1 - settings.p
    for k in clear:
        after[k] += budget * float(row[k]) / free
    return after


def test_the_table_holds_the_same_and_contributions_are_weighted(run, tmp_path):
    numbers = maps_of(run, layers=[1], quantity="contribution")
    written = save_numbers(numbers, tmp_path / "m.csv")
    assert [path.name for path in written] == ["m.csv", "m.json"]
    assert json.loads(written[1].read_text("utf-8"))["quantity"] == "contribution"
    query = run.query_of(int(run.generated_positions[0]))
    with open(written[0], encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == run.n_heads * 40
    for line in lines[::7]:
        head, position = int(line["head"]), int(line["position"])
        alpha = run.attention(query, 1, head)[position] * run.value_norm(1, head)[position]
        assert float(line["before"]) == pytest.approx(float(alpha), rel=1e-6)
        assert (int(line["row"]), int(line["col"])) == divmod(int(line["visual_token"]), 8)


@pytest.mark.parametrize("view", [None, 0, 2])
def test_pixels_of_a_mask_by_a_plain_loop(tiled: Recording, tmp_path: Path, view) -> None:
    # A tau that marks about a third of the tokens, so that each view has sinks and others.
    tau = float(np.quantile(tiled.phi(3)[tiled.layout.positions], 0.66))
    numbers = masks_of(tiled, layers=[0, 3], settings=Redistribution(tau=tau), view=view)
    written = save_numbers(numbers, tmp_path / "sinks.png")
    shown = {None: {0: (1, 2), 1: (3,)}, 0: {0: (0,)}, 2: {0: (2,)}}[view]
    ends = {(layer, image) for layer in (0, 3) for image in shown}
    several = len(shown) > 1
    marked = 0
    for layer, image in ends:
        tail = f"-image{image + 1}" if several else ""
        path = tmp_path / f"sinks-L{layer:02d}{tail}.png"
        assert path in written
        with Image.open(path) as png:
            pixels = np.asarray(png)
            about = json.loads(png.text["Description"])
        assert about["layer"] == layer and about["tau"] == tau and about["image"] == image
        assert about["convention"] == "paper" and about["run_id"] == tiled.id
        width, height = tiled.layout.image_sizes[image]
        assert pixels.shape == (height, width) and set(np.unique(pixels)) <= {0, 255}
        phi = tiled.phi(layer)
        for y in range(height):
            for x in range(width):
                inside = False
                for index in shown[image]:
                    left, top, right, bottom = tiled.layout.views[index].box
                    rows, cols = tiled.layout.views[index].tokens.shape
                    if left <= x + 0.5 < right and top <= y + 0.5 < bottom:
                        col = int((x + 0.5 - left) / (right - left) * cols)
                        row = int((y + 0.5 - top) / (bottom - top) * rows)
                        k = int(tiled.layout.views[index].tokens[row, col])
                        inside |= k >= 0 and bool(phi[tiled.layout.positions[k]] >= tau)
                assert pixels[y, x] == 255 * inside, (layer, image, x, y)
                marked += inside
    assert marked
    assert written == files_of_numbers(numbers, tmp_path / "sinks.png")


def test_masks_of_one_image_hold_nothing_of_the_other(tiled: Recording, tmp_path: Path) -> None:
    both, second = masks_of(tiled, layers=[3]), masks_of(tiled, layers=[3], image=1)
    assert {"image1_pixels", "view3_cells"} <= set(both.arrays)
    mine = {name for name in second.arrays if name.endswith(("_pixels", "_cells"))}
    assert mine == {"image2_pixels", "view3_cells"} and second.metadata["image"] == 1
    np.testing.assert_array_equal(second.arrays["image2_pixels"], both.arrays["image2_pixels"])
    assert set(second.table()["visual_token"].tolist()) == set(range(21, 30))
    assert set(masks_of(tiled, layers=[3], image=0).table()["view"].tolist()) == {0, 1, 2}
    assert len(both.table()["visual_token"]) == tiled.layout.count
    assert set(masks_of(tiled, view=0).table()["visual_token"].tolist()) == set(range(4))
    with pytest.raises(VarStudioError, match="Images go from 1 to 2"):
        masks_of(tiled, image=8)
    with pytest.raises(VarStudioError, match="names an image already"):
        masks_of(tiled, image=0, view=0)


def test_the_command_writes_masks_of_the_image_named(
    tiled: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_session(tmp_path / "s.vars", runs=[tiled])
    masks = ["export", str(path), "--masks", "--layer", "3", "--out", str(tmp_path / "m.png")]
    assert main([*masks, "--image", "2"]) == 0
    assert sorted(p.name for p in tmp_path.glob("m*")) == ["m-L03-image2.png", "m.json"]
    assert main([*masks, "--image", "9"]) == 2 and "no image 9" in capsys.readouterr().err
    assert main([*masks, "--image", "1", "--view", "3"]) == 2
    maps = ["export", str(path), "--maps", "--out", str(tmp_path / "a.npz")]
    for option in ("--image", "--view"):
        assert main([*maps, option, "1"]) == 2
        assert f"{option} changes nothing in --maps." in capsys.readouterr().err
    assert main(maps) == 0


def test_cells_of_a_mask_by_a_plain_loop(tiled: Recording, tmp_path: Path) -> None:
    tau = float(np.quantile(tiled.phi(3)[tiled.layout.positions], 0.5))
    numbers = masks_of(tiled, settings=Redistribution(tau=tau))
    save_numbers(numbers, tmp_path / "sinks.npz")
    with np.load(tmp_path / "sinks.npz", allow_pickle=False) as arrays:
        for index, view in enumerate(tiled.layout.views):
            for (row, col), k in np.ndenumerate(view.tokens):
                for layer in range(tiled.n_layers):
                    phi = tiled.phi(layer)
                    sink = k >= 0 and phi[tiled.layout.positions[k]] >= tau
                    expected = -1 if k < 0 else int(sink)
                    assert arrays[f"view{index}_cells"][layer, row, col] == expected
        # What is no patch is no visual sink, whatever its phi.
        assert not arrays["sinks"][:, 30:].any()
        assert (tiled.phi()[:, tiled.layout.positions[30:]] >= tau).any()
        assert arrays["image1_pixels"].shape == (6, 67, 101)
    save_numbers(numbers, tmp_path / "sinks.csv")
    with open(tmp_path / "sinks.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 6 * 40
    assert sum(int(line["sink"]) for line in lines) == int(numbers.arrays["sinks"].sum())


def test_a_mask_can_be_read_back_as_a_region(run: Recording, tmp_path: Path) -> None:
    numbers = masks_of(run, layers=[3])
    (path, _) = save_numbers(numbers, tmp_path / "m.png")
    found = load_mask(path, run.layout.image_sizes[0])
    np.testing.assert_array_equal(found, numbers.arrays["image1_pixels"][0])


def test_the_convention_decides(run: Recording) -> None:
    paper = masks_of(run, settings=Redistribution(tau=4.0))
    code = masks_of(run, settings=Redistribution(tau=4.0, convention="released-code"))
    assert paper.metadata["rule"] == "φ ≥ τ, paper convention"
    assert code.metadata["rule"] == "φ > τ, released-code convention"
    assert paper.arrays["sinks"][1].any() and not code.arrays["sinks"][:2].any()


def test_what_cannot_be_written_is_refused(run: Recording, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(VarStudioError, match="no layer 9"):
        masks_of(run, layers=[9])
    with pytest.raises(VarStudioError, match=r"none of the files"):
        save_numbers(maps_of(run), tmp_path / "m.png")
    with pytest.raises(VarStudioError, match=r"none of the files"):
        save_numbers(masks_of(run), tmp_path / "m.pdf")
    known = run.layout
    unknown = VisualLayout(known.image_sizes, known.positions, (), known.boxes, ((),), known=False)
    monkeypatch.setattr(type(run), "layout", property(lambda _: unknown))
    with pytest.raises(VarStudioError, match="geometry is unknown"):
        save_numbers(masks_of(run), tmp_path / "m.png")
    assert save_numbers(masks_of(run), tmp_path / "m.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]
