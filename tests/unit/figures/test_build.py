"""What is drawn: which row and heads, on which scale, and what is said of the settings."""

from __future__ import annotations

import re

import numpy as np
import pytest

from var_studio.analysis.choice import NoRowError, read
from var_studio.errors import VarStudioError
from var_studio.figures.build import MapOptions, build, build_map
from var_studio.figures.words import interventions_line, settings_line, visible
from var_studio.recording.settings import Contrast, HeadAblation, Knockout, Redistribution


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
        told = said.format(tau=run.tau_default)
        if figure == "heads":  # which are looked at before anything acts
            told = f"Rows as before the intervention ({_named(interventions)})."
            assert ", visual mass ≥ 0.2, paper convention." in built.notes[0]
            assert "p = " not in built.notes[0]
        assert any(note.endswith(told) for note in built.notes), built.notes
        kinds = [each["kind"] for each in built.metadata["interventions"]]
        assert kinds == [each.kind for each in interventions]
    assert any("heads changed." in note for note in build("map", reading).notes)


def _named(interventions) -> str:
    lines = (interventions_line([each]) for each in interventions)
    return " and ".join(re.split("[:,]", line)[0] for line in lines)


def test_contrast_is_said_in_words():
    settings = Contrast(strength=0.5, cutoff=0.2, noise_step=300, seed=9)
    line = "contrastive decoding: a = 0.5, β = 0.2, noise step 300, seed 9"
    assert interventions_line([settings]) == line
    assert interventions_line([]) == ""


def test_an_unknown_figure_is_refused(run):
    with pytest.raises(VarStudioError, match="map, histogram, heads"):
        build("pie", read(run))


@pytest.mark.parametrize(
    ("text", "shown"),
    [(" cup", "“cup”"), ("\n", "“⏎”"), ("  ", "“␣␣”"), ("", "“∅”"), ("a b", "“a b”")],
)
def test_tokens_are_named_so_that_blanks_can_be_seen(text, shown):
    assert visible(text) == shown


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
