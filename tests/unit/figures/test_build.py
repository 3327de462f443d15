"""What is drawn: geometry, scales, choice of rows, settings; and the data beside a figure."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import make_layout
from var_studio.errors import VarStudioError
from var_studio.figures.build import FIGURES, MapOptions, build, build_map
from var_studio.figures.choice import NoRowError, read
from var_studio.figures.data import load_settings
from var_studio.figures.export import export_figure
from var_studio.figures.geometry import finest_views, unseen_and_padding
from var_studio.figures.render import FigureError
from var_studio.figures.words import interventions_line, settings_line, visible
from var_studio.recording.layout import View, VisualLayout
from var_studio.recording.recording import Recording
from var_studio.recording.session import save_session
from var_studio.recording.settings import (
    Contrast,
    HeadAblation,
    Knockout,
    Redistribution,
)

ROOT = Path(__file__).resolve().parents[3]


def test_before_and_after_share_a_scale_and_the_difference_is_centred(run):
    figure = build_map(read(run, layer=3, settings=Redistribution(heads="all")))
    image, before, after, difference = figure.rows[0]
    assert image.scale is None and image.heats == ()
    assert before.scale == after.scale != difference.scale
    assert difference.scale.limits.low == -difference.scale.limits.high
    assert before.scale.limits.low == 0
    total = sum(np.nansum(p.heats[0].values) * s for p, s in ((after, 1), (before, -1)))
    assert np.nansum(difference.heats[0].values) == pytest.approx(total, abs=1e-6)


def test_hidden_sinks_do_not_stretch_the_scale(run):
    reading = read(run, layer=3)
    full = (
        build_map(reading, options=MapOptions(robust=False, hide_sinks=False))
        .rows[0][1]
        .scale.limits
    )
    hidden = build_map(reading, options=MapOptions(robust=False, hide_sinks=True))
    limits = hidden.rows[0][1].scale.limits
    kept = ~reading.visual_sinks
    assert limits.high == pytest.approx(
        max(reading.map_before[kept].max(), reading.map_after[kept].max())
    )
    assert limits.high < full.high and limits.clipped and not full.clipped


def test_rows_are_those_asked_for(run):
    token = run.length - 4
    query = run.query_of(token)
    assert read(run, token=token).focus.query == query
    assert read(run, token=token, row_of="produced").focus.query == query - 1
    assert read(run).position == run.generated_positions[0]
    assert read(run, layer=2).focus.heads == tuple((2, h) for h in range(6))
    assert read(run, head=4).focus.heads == tuple((i, 4) for i in range(6))
    assert read(run, layer=2, head=4).focus.heads == ((2, 4),)
    assert read(run).focus.heads == ()


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"token": 10_000}, "goes from 0 to"),
        ({"token": -1}, "goes from 0 to"),
        ({"layer": 6}, "0 to 5"),
        ({"head": -1}, "0 to 5"),
        ({"layer": 0, "head": 6}, "0 to 5"),
    ],
)
def test_an_index_outside_the_run_is_refused(run, choice, said):
    with pytest.raises(VarStudioError, match=said):
        read(run, **choice)


@pytest.mark.parametrize(
    "choice",
    [{"token": 0}, {"token": 10}, {"token": 0, "row_of": "produced"}],
)
def test_a_token_without_a_row_is_told_which_have_one(run, choice):
    first, last = run.query_positions[[0, -1]]
    with pytest.raises(NoRowError, match=f"{first} to {last}"):
        read(run, **choice)


def test_the_settings_of_an_intervened_run_are_the_default(tmp_path):
    from tests.synthetic import make_run

    settings = Redistribution(rho=0.35, p=0.2)
    other = make_run(tmp_path / "r", rows=3, cols=3, queries=6, intervention=settings)
    assert read(other).settings.rho == 0.35
    assert read(other, settings=Redistribution()).settings.rho == 0.8


@pytest.mark.parametrize(
    ("interventions", "said"),
    [
        (
            [Knockout(tau=5, tokens="random-visual", seed=3, first_layer=1)],
            "Knockout of as many random visual tokens as there are visual sinks: τ = 5, "
            "paper convention, seed 3, layers from 1.",
        ),
        (
            [Knockout(tokens="chosen", positions=(1, 7), last_layer=2)],
            "Knockout of 2 chosen tokens, layers 0–2.",
        ),
        (
            [HeadAblation(rho=0.5, heads="complement")],
            "Image hidden from all but the image-centric heads: τ = {tau:.4g}, ρ = 0.5, "
            "visual mass ≥ 0.2, paper convention.",
        ),
        (
            [Knockout(), Redistribution(rho=0.3)],
            "Knockout of visual sinks: τ = {tau:.4g}, paper convention; redistribution: "
            "τ = {tau:.4g}, ρ = 0.3, p = 0.6, visual mass ≥ 0.2, paper convention.",
        ),
    ],
    ids=["random", "chosen", "heads", "both"],
)
def test_a_figure_of_an_intervened_run_says_what_was_done(tmp_path, interventions, said):
    from tests.synthetic import make_run

    run = make_run(tmp_path / "r", rows=3, cols=3, queries=6, intervention=interventions)
    reading = read(run)
    for figure in ("map", "heads"):
        built = build(figure, reading)
        assert any(note.endswith(said.format(tau=run.tau_default)) for note in built.notes), (
            built.notes
        )
        kinds = [each["kind"] for each in built.metadata["interventions"]]
        assert kinds == [each.kind for each in interventions]
    assert any("heads changed." in note for note in build("map", reading).notes)


def test_contrast_is_said_in_words():
    settings = Contrast(strength=0.5, cutoff=0.2, noise_step=300, seed=9)
    line = "contrastive decoding: a = 0.5, β = 0.2, noise step 300, seed 9"
    assert interventions_line([settings]) == line
    assert interventions_line([]) == ""


def test_an_unknown_figure_is_refused(run):
    with pytest.raises(VarStudioError, match="map, histogram, heads"):
        build("pie", read(run))


def grid_view(name, box, rows, cols, start=0):
    return View(name, 0, box, start + np.arange(rows * cols).reshape(rows, cols))


def layout_of(size, *views, unseen=()):
    count = max(int(v.tokens.max()) for v in views) + 1
    return VisualLayout((size,), np.arange(count), views, np.zeros((count, 4)), (tuple(unseen),))


def test_padding_is_what_lies_outside_the_image():
    wide = layout_of((100, 50), grid_view("image", (0.0, -25.0, 100.0, 75.0), 4, 4))
    assert unseen_and_padding(wide, 0)[1] == ((0.0, -25.0, 100.0, 0.0), (0.0, 50.0, 100.0, 75.0))
    tall = layout_of((50, 100), grid_view("image", (-25.0, 0.0, 75.0, 100.0), 4, 4))
    assert unseen_and_padding(tall, 0)[1] == ((-25.0, 0.0, 0.0, 100.0), (50.0, 0.0, 75.0, 100.0))
    exact = layout_of((100, 50), grid_view("image", (0.0, 0.0, 100.0, 50.0), 4, 4))
    assert unseen_and_padding(exact, 0)[1] == ()


def test_cropped_borders_are_hatched_in_the_figure(run, monkeypatch):
    box = (40.0, 0.0, 280.0, 240.0)
    borders = ((0.0, 0.0, 40.0, 240.0), (280.0, 0.0, 320.0, 240.0))
    layout = run.layout
    cropped = VisualLayout(
        layout.image_sizes,
        layout.positions,
        (View("image", 0, box, layout.views[0].tokens),),
        layout.boxes,
        (borders,),
    )
    monkeypatch.setattr(type(run), "layout", property(lambda _: cropped))
    figure = build_map(read(run))
    panel = figure.rows[0][1]
    assert "Hatched: cropped away" in " ".join(figure.notes)
    assert panel.unseen == borders
    assert panel.heats[0].box == box
    assert panel.extent == (0.0, 0.0, 320.0, 240.0)


def test_tiles_are_shown_rather_than_their_thumbnail():
    thumbnail = grid_view("thumbnail", (0.0, 0.0, 200.0, 100.0), 4, 4)
    left = grid_view("left", (0.0, 0.0, 100.0, 100.0), 4, 4, 16)
    right = grid_view("right", (100.0, 0.0, 200.0, 100.0), 4, 4, 32)
    assert finest_views(layout_of((200, 100), thumbnail, left, right), 0) == [1, 2]
    assert finest_views(layout_of((200, 100), thumbnail), 0) == [0]


def test_an_unknown_geometry_is_never_laid_over_the_picture(run, monkeypatch):
    layout = make_layout(5, 8, (320, 240), start=6)
    unknown = VisualLayout(
        layout.image_sizes, layout.positions, layout.views, layout.boxes, ((),), known=False
    )
    monkeypatch.setattr(type(run), "layout", property(lambda _: unknown))
    reading = read(run)
    figure = build_map(reading)
    assert all(panel.picture is None and not panel.sinks for panel in figure.rows[0])
    for panel, values in zip(
        figure.rows[0],
        (reading.map_before, reading.map_after, reading.map_difference),
        strict=True,
    ):
        # One row of 40 cells: nobody takes it for the picture's 5 × 8 grid.
        (heat,) = panel.heats
        assert heat.values.shape == (1, 40) and panel.size == (40, 1)
        np.testing.assert_allclose(heat.values[0], values)
    assert "Geometry unknown: shown as a strip" in " ".join(figure.notes)
    with pytest.raises(VarStudioError, match="no views"):
        build_map(reading, options=MapOptions(view=0))


def test_a_long_strip_is_broken_into_rows(run, monkeypatch):
    layout = make_layout(10, 10, (320, 240))
    unknown = VisualLayout(
        layout.image_sizes, layout.positions, (), layout.boxes, ((),), known=False
    )
    strip = unknown.strip()
    assert strip.tokens.shape == (3, 48)
    assert strip.tokens[2, :5].tolist() == [96, 97, 98, 99, -1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [(" cup", "“cup”"), ("\n", "“⏎”"), ("  ", "“␣␣”"), ("", "“”"), ("a b", "“a b”")],
)
def test_tokens_are_named_so_that_blanks_can_be_seen(text, shown):
    assert visible(text) == shown


# --- captions


@pytest.fixture
def two_images(run, monkeypatch):
    """The 40 tokens of `run` as two images: 24 in the first; a thumbnail and a tile of 8 each."""
    first, thumbnail, tile = (np.arange(24), np.arange(24, 32), np.arange(32, 40))
    layout = VisualLayout(
        ((320, 240), (200, 100)),
        run.layout.positions,
        (
            View("image", 0, (0.0, 0.0, 320.0, 240.0), first.reshape(3, 8)),
            View("thumbnail", 1, (0.0, 0.0, 200.0, 100.0), thumbnail.reshape(2, 4)),
            View("tile", 1, (0.0, 0.0, 100.0, 100.0), tile.reshape(2, 4)),
        ),
        run.layout.boxes,
        ((), ()),
    )
    sizes = layout.image_sizes
    monkeypatch.setattr(type(run), "layout", property(lambda _: layout))
    monkeypatch.setattr(type(run), "image", lambda _, index: Image.new("RGB", sizes[index]))
    return run


@pytest.mark.parametrize(
    ("options", "views", "size", "said"),
    [
        ({}, [0], (320, 240), "image 1 of 2"),
        ({"image": 0}, [0], (320, 240), "image 1 of 2"),
        ({"image": 1}, [2], (200, 100), "image 2 of 2, view “tile”"),
        ({"view": 1}, [1], (200, 100), "image 2 of 2, view “thumbnail”"),
        ({"view": 0, "image": 1}, [0], (320, 240), "image 1 of 2"),
    ],
)
def test_a_map_counts_what_it_shows(two_images, options, views, size, said):
    # Below the least phi all patches are sinks: the numbers are those of the views.
    reading = read(two_images, layer=3, settings=Redistribution(tau=0.0))
    figure = build_map(reading, options=MapOptions(**options))
    picture, before = figure.rows[0][:2]
    shown = sum(two_images.layout.views[view].tokens.size for view in views)
    assert picture.size == size and len(picture.sinks) == shown
    assert figure.title.endswith(said)
    assert f"{shown} of 40 visual sinks of layer 3 boxed; the rest" in figure.notes[0]
    grids = [two_images.layout.grid(view, reading.map_before) for view in views]
    for heat, grid in zip(before.heats, grids, strict=True):
        np.testing.assert_array_equal(heat.values, grid)
    # What is elsewhere stretches no scale.
    full = MapOptions(robust=False, hide_sinks=False, **options)
    limits = build_map(reading, options=full).rows[0][1].scale.limits
    after = [two_images.layout.grid(view, reading.map_after) for view in views]
    assert limits.high == pytest.approx(max(g.max() for g in grids + after))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image": 2}, "There is no image 3. Images go from 1 to 2."),
        ({"image": -1}, "There is no image 0."),
        ({"view": 3}, "There is no view 3. Views go from 0 to 2."),
        ({"view": -1}, "There is no view -1."),
    ],
)
def test_an_image_that_is_not_there_is_refused(two_images, options, said):
    with pytest.raises(VarStudioError) as caught:
        build_map(read(two_images), options=MapOptions(**options))
    assert said in str(caught.value)


def test_one_image_is_not_numbered(run):
    figure = build_map(read(run, layer=3))
    assert "image" not in figure.title
    boxed = int(read(run, layer=3).visual_sinks.sum())
    assert f"{boxed} visual sinks of layer 3 boxed." in figure.notes[0]


@pytest.mark.parametrize("hide", [True, False])
@pytest.mark.parametrize("robust", [True, False])
def test_the_caption_tells_what_lies_beyond_the_scale(run, robust, hide):
    settings = Redistribution(heads="all", mass_min=0.0)
    reading = read(run, layer=3, settings=settings)
    options = MapOptions(robust=robust, hide_sinks=hide)
    figure = build_map(reading, options=options)
    high = figure.rows[0][1].scale.limits.high
    n_sinks, n_others, largest = 0, 0, 0.0
    for k in range(40):
        most = max(float(reading.map_before[k]), float(reading.map_after[k]))
        if most > high:
            n_sinks += bool(reading.visual_sinks[k])
            n_others += not reading.visual_sinks[k]
            largest = max(largest, most)
    said = [n for n in figure.notes if "beyond the scale," in n]
    if not robust and not hide:
        assert said == [] and n_sinks + n_others == 0  # control
        return
    assert n_sinks > 0
    (said,) = said
    assert said.startswith(f"{n_sinks} sink")
    assert (f"and {n_others} other token" in said) == (n_others > 0)
    assert said.endswith(f"up to {100 * largest:.3g}\u00a0%.")


def test_the_caption_tells_what_lies_beyond_the_scale_of_the_change(run):
    reading = read(run, layer=3, settings=Redistribution(heads="all", mass_min=0.0))
    (said,) = [n for n in build_map(reading).notes if "the scale of the change" in n]
    lowest = f"{100 * float(reading.map_difference.min()):.3g}".replace("-", "−")
    assert said.endswith(f"down to {lowest}\u00a0%.")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"first_layer": 1}, "layers from 1"),
        ({"first_layer": 1, "last_layer": 3}, "layers 1–3"),
        ({"last_layer": 3}, "layers 0–3"),
        ({"first_layer": 2, "last_layer": 2}, "layer 2 alone"),
        ({"sink_dims": (5, 90)}, "sink dimensions 5, 90"),
        ({"heads": "all"}, "all heads"),
        ({"target": "both"}, "target both"),
        ({"target": "region", "region": (3, 4)}, "target a region of 2 tokens"),
        ({"source": "text"}, "from text sinks"),
    ],
)
def test_the_line_of_settings_names_whatever_is_not_the_default(changes, said):
    plain = settings_line(Redistribution())
    assert said not in plain
    assert settings_line(Redistribution(**changes)) == f"{plain}, {said}"


def test_the_title_of_a_histogram_counts_the_first_token_apart(run):
    layer, sinks = 3, run.sinks(3)
    visual = int((sinks & run.visual).sum())
    assert sinks[0] and sinks.sum() == visual + 1
    title = build("histogram", read(run, layer=layer)).title
    assert title == f"Sinks of layer 3: {visual} visual, 1 BOS"
    every = build("histogram", read(run, layer=layer, settings=Redistribution(tau=0.0))).title
    n_text = run.length - run.visual.sum() - 1
    assert every == f"Sinks of layer 3: {run.visual.sum()} visual, {n_text} text, 1 BOS"
    none = build("histogram", read(run, layer=layer, settings=Redistribution(tau=1000.0))).title
    assert none == "Sinks of layer 3: none"


def test_the_dot_of_the_head_in_focus_is_explained(run):
    assert "Dot: layer 3, head 1." in build("heads", read(run, layer=3, head=1)).notes[0]
    assert "Dot" not in build("heads", read(run, layer=3)).notes[0]


# --- beside a figure


def exported(run, folder, figure, **choice):
    return export_figure(run, figure, folder / f"{figure}.png", dpi=40, with_data=True, **choice)


@pytest.mark.parametrize("figure", FIGURES)
def test_settings_load_back(run, tmp_path, figure):
    settings = Redistribution(tau=5.5, rho=0.4, p=0.3, convention="released-code", target="both")
    written = exported(run, tmp_path, figure, layer=2, head=1, settings=settings)
    assert [path.suffix for path in written] == [".png", ".npz", ".csv", ".json"]
    assert load_settings(written[3]) == settings
    document = json.loads(written[3].read_text("utf-8"))
    assert document["layer"] == 2 and document["heads"] == [[2, 1]]
    assert (document["tau"], document["rho"], document["p"]) == (5.5, 0.4, 0.3)
    assert document["convention"] == "released-code"
    assert document["token"]["position"] == run.generated_positions[0]
    with np.load(written[1], allow_pickle=False) as arrays:
        assert json.loads(str(arrays["settings"])) == document


def test_the_table_of_a_map_holds_the_recorded_numbers(run, tmp_path):
    written = exported(run, tmp_path, "map", layer=2, head=1)
    query = run.query_of(int(run.generated_positions[0]))
    before = run.attention(query, 2, 1)
    after = run.redistributed(query, Redistribution(), 2, 1)
    with open(written[2], encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 40
    for k, line in enumerate(lines):
        position = int(line["position"])
        assert position == run.layout.positions[k]
        assert (int(line["row"]), int(line["col"])) == divmod(k, 8)
        assert np.float32(line["before"]) == before[position]
        assert float(line["after"]) == pytest.approx(float(after[position]), abs=1e-6)
        assert np.float32(line["phi"]) == run.phi(2)[position]
        assert int(line["sink"]) == int(run.sinks(2)[position])
    with np.load(written[1], allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["before"], before[run.layout.positions])
        np.testing.assert_array_equal(arrays["view0_before"].ravel(), arrays["before"])


def test_the_table_of_heads_holds_the_method_s_numbers(run, tmp_path):
    from var_studio.method import heads

    written = exported(run, tmp_path, "heads")
    query = run.query_of(int(run.generated_positions[0]))
    ratio = heads.non_sink_ratio(run.attention(query)[:, :, None], run.visual, run.sinks())[..., 0]
    with open(written[2], encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            layer, head = int(line["layer"]), int(line["head"])
            assert float(line["non_sink_ratio"]) == pytest.approx(ratio[layer, head], abs=1e-6)
            assert int(line["image_centric"]) == int(run.image_centric(query)[layer, head])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        '{"redistribution": 3}',
        '{"redistribution": {"rho": 7}}',
        '{"rho": 0.5, "colour": 1}',
        "[" * 100_000,
        "\x00",
    ],
)
def test_a_file_that_holds_no_settings_is_refused(tmp_path, content):
    path = tmp_path / "s.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FigureError, match="holds no settings"):
        load_settings(path)


def test_settings_of_a_missing_file(tmp_path):
    with pytest.raises(FigureError, match="cannot be read"):
        load_settings(tmp_path / "none.json")
    with pytest.raises(FigureError, match="holds no settings"):
        path = tmp_path / "binary.json"
        path.write_bytes(b"\xff\xfe\x80")
        load_settings(path)


def test_no_figure_is_left_half_written(run, tmp_path, monkeypatch):
    import os

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(FigureError, match="No space left"):
        export_figure(run, "histogram", tmp_path / "f.pdf")
    assert list(tmp_path.iterdir()) == []


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is blocked", name=name.split(".")[0])

sys.meta_path.insert(0, Blocker())
{body}
"""


def run_blocked(
    body: str, *arguments: str, blocked: tuple[str, ...]
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED.format(blocked=blocked, body=body), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_session_opens_and_exports_without_torch_or_qt(run: Recording, tmp_path):
    session = save_session(tmp_path / "s.vars", runs=[run])
    blocked = ("torch", "transformers", "accelerate", "PySide6", "pyqtgraph", "shiboken6")
    body = (
        "from var_studio.cli import main\n"
        "folder, session = sys.argv[1:]\n"
        "for figure in ('map', 'histogram', 'heads'):\n"
        "    for suffix in ('pdf', 'svg', 'png'):\n"
        "        out = f'{folder}/{figure}-{suffix}.{suffix}'\n"
        "        options = ['--figure', figure, '--out', out, '--with-data']\n"
        "        assert main(['export', session, *options]) == 0\n"
        "assert main(['info', session]) == 0\n"
    )
    done = run_blocked(body, str(tmp_path), str(session), blocked=blocked)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.pdf"))) == 3
    # Control: the blocker blocks.
    for name in ("torch", "PySide6"):
        assert "is blocked" in run_blocked(f"import {name}", blocked=blocked).stderr
