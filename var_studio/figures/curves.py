"""From a reading to the scatter plots, curves and bars of Fig. 2, 3, 7, 8 and 10."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.analysis.contributions import contributions
from var_studio.analysis.layers import layer_profile
from var_studio.analysis.profiles import TokenProfile, profiles
from var_studio.analysis.reading import Reading
from var_studio.analysis.scatter import phi_alpha
from var_studio.analysis.shares import image_centric_share
from var_studio.figures.origin import dims_of, origin, tau_of
from var_studio.figures.spec import (
    BOS_COLOUR,
    CENTRIC_COLOUR,
    PLAIN_COLOUR,
    SINK_COLOUR,
    VISUAL_COLOUR,
    Figure,
    Level,
    Marks,
    Panel,
    PlotPanel,
    Scale,
    Width,
)
from var_studio.figures.words import (
    LEFT_OUT,
    acts_line,
    focus_line,
    gained_line,
    heads_by_line,
    layers_in_focus,
    phi_notes,
    redistributes,
    sinks_by_kind,
    sinks_rule,
    sinks_unknown,
    token_line,
)
from var_studio.recording.tokens import bare

_LEAST_ALPHA = 1e-6
_GROUPS = ("BOS", "text\nsinks", "visual\nsinks", "visual\nnon-sinks", "other\ntext")


def build_scatter(reading: Reading, *, width: Width = "two-columns") -> Figure:
    """Phi against attention of every visual token (Fig. 3a); tau is a line."""
    points = phi_alpha(reading, text=True)
    layer, tau = reading.focus.layer, tau_of(reading)
    bound = max(reading.run.hidden_size**0.5, float(points.phi.max(initial=0.0)))
    visual = points.visual
    groups = (
        ("visual non-sinks", ~points.sink, VISUAL_COLOUR, 2.2),
        ("visual sinks", points.sink, SINK_COLOUR, 3.2),
    )
    panel = PlotPanel(
        title="",
        marks=tuple(
            Marks(
                f"{name} ({int((mask & visual).sum())})",
                "dots",
                points.phi[mask & visual],
                points.alpha[mask & visual],
                colour,
                size,
            )
            for name, mask, colour, size in groups
        ),
        x=Scale(f"sink-dimension value φ (at most √D = {bound:.1f})", 0.0, bound * 1.02),
        y=_alpha_scale(points.alpha[visual]),
        levels=(Level(tau, f"τ = {tau:.4g}", upright=True),),
    )
    columns: dict[str, npt.NDArray[Any]] = {
        "position": points.positions,
        "token": points.tokens,
        "phi": points.phi,
        "alpha": points.alpha,
        "sink": points.sink,
    }
    total = points.unknown + len(points.phi)
    unknown = f" φ is known for {len(points.phi)} of {total} tokens." if points.unknown else ""
    return Figure(
        rows=((panel,),),
        title=f"{token_line(reading)} · {focus_line(reading)} · φ of layer {layer}",
        notes=(f"Sink dimensions {dims_of(reading)}.{unknown}",),
        metadata=origin("scatter", reading),
        arrays=columns,
        table=columns,
    )


def _alpha_scale(alpha: npt.NDArray[np.floating[Any]]) -> Scale:
    """Whole powers of ten around what is drawn; what is below a millionth lies at its foot."""
    drawn = np.maximum(alpha[np.isfinite(alpha)], _LEAST_ALPHA)
    low, high = (drawn.min(), drawn.max()) if len(drawn) else (_LEAST_ALPHA, 1.0)
    least = min(math.floor(math.log10(low) + 1e-9), -1)
    most = max(math.ceil(math.log10(high) - 1e-9), least + 1)
    label = "attention α (% of the row)"
    return Scale(label, 10.0**least, min(10.0**most, 1.0), log=True, percent=True)


def build_head_scatter(reading: Reading, *, width: Width = "two-columns") -> Figure:
    """Non-sink ratio against visual mass of every head; rho and the least mass are lines."""
    settings, centric = reading.settings, reading.image_centric.ravel()
    ratio, mass = reading.non_sink_ratio.ravel(), reading.visual_mass.ravel()
    by_sinks = settings.convention == "released-code"
    rho = 1.0 - settings.rho if by_sinks else settings.rho
    panel = PlotPanel(
        title="",
        marks=(
            Marks("other heads", "dots", ratio[~centric], mass[~centric], PLAIN_COLOUR, 2.4),
            Marks("image-centric", "dots", ratio[centric], mass[centric], CENTRIC_COLOUR, 2.8),
        ),
        x=Scale("visual non-sink ratio r", 0.0, 1.0),
        y=Scale("visual mass (% of the row)", 0.0, 1.0, percent=True),
        levels=(
            Level(rho, f"ρ = {settings.rho:g}", upright=True),
            Level(settings.mass_min, f"{100 * settings.mass_min:g} %", upright=False),
        ),
    )
    layers, heads = np.divmod(np.arange(centric.size), reading.run.n_heads)
    columns: dict[str, npt.NDArray[Any]] = {
        "layer": layers,
        "head": heads,
        "non_sink_ratio": ratio,
        "visual_mass": mass,
        "image_centric": centric,
    }
    share = f"{int(centric.sum())} of {centric.size}"
    return Figure(
        rows=((panel,),),
        title=f"{token_line(reading)} · {share} heads are image-centric",
        notes=(f"{heads_by_line(settings)}.", *sinks_unknown(reading)),
        metadata=origin("head_scatter", reading),
        arrays=columns,
        table=columns,
    )


def build_layers(reading: Reading, *, width: Width = "two-columns") -> Figure:
    """Phi by layer, and the number of visual sinks by layer (Fig. 8)."""
    shown, tau = layer_profile(reading), tau_of(reading)
    layers = np.arange(reading.run.n_layers)
    across = Scale("layer", -0.6, len(layers) - 0.4, whole=True)
    top = 1.05 * max(float(np.nanmax(reading.phi, initial=0.0)), tau)
    phi = PlotPanel(
        title="",
        marks=(
            Marks("BOS", "line", layers, shown.first, BOS_COLOUR),
            Marks(
                "visual sinks",
                "line",
                layers,
                shown.sinks.mean,
                SINK_COLOUR,
                low=shown.sinks.low,
                high=shown.sinks.high,
            ),
            Marks(
                "other visual tokens",
                "line",
                layers,
                shown.others.mean,
                VISUAL_COLOUR,
                low=shown.others.low,
                high=shown.others.high,
            ),
        ),
        x=across,
        y=Scale("sink-dimension value φ", 0.0, top),
        levels=(Level(tau, f"τ = {tau:.4g}", upright=False),),
    )
    most = 1.08 * max(int(shown.n_visual.max(initial=0)), 4)
    counts = PlotPanel(
        title="",
        marks=(Marks("", "bars", layers, shown.n_visual.astype(float), SINK_COLOUR, 0.8),),
        x=across,
        y=Scale("number of visual sinks", 0.0, most, whole=True),
    )
    columns: dict[str, npt.NDArray[Any]] = {
        "layer": layers,
        "phi_first_token": shown.first,
        "phi_sinks_mean": shown.sinks.mean,
        "phi_sinks_low": shown.sinks.low,
        "phi_sinks_high": shown.sinks.high,
        "phi_others_mean": shown.others.mean,
        "phi_others_low": shown.others.low,
        "phi_others_high": shown.others.high,
        "visual_sinks": shown.n_visual,
        "text_sinks": shown.n_text,
    }
    return Figure(
        rows=arranged((phi, counts), width),
        title="Sinks by layer",
        notes=(
            "Lines: means; bands: smallest to largest. "
            f"Sink dimensions {dims_of(reading)}; {reading.settings.convention} convention.",
            *phi_notes(reading),
        ),
        metadata=origin("layers", reading),
        arrays=columns,
        table=columns,
    )


def build_hidden(reading: Reading, *, width: Width = "two-columns") -> Figure:
    """Hidden states of BOS, a visual sink and another visual token (Fig. 2 and 7)."""
    shown = profiles(reading)
    top = 1.08 * max([1.0, *(float(p.magnitudes.max(initial=0.0)) for p in shown)])
    aspect = 0.4 if width == "column" else 0.7
    size = reading.run.hidden_size
    panels = tuple(profile_panel(p, size, top, aspect) for p in shown)
    columns: dict[str, npt.NDArray[Any]] = {
        "position": np.concatenate([np.full(len(p.dims), p.position) for p in shown]),
        "token": np.concatenate([np.full(len(p.dims), p.token) for p in shown]),
        "dimension": np.concatenate([p.dims for p in shown]),
        "magnitude": np.concatenate([p.magnitudes for p in shown]),
    }
    sinks: dict[str, npt.NDArray[Any]] = {
        "sink_dims": np.array(shown[0].sink_dims, dtype=np.int64),
        "sink_magnitudes": np.stack([p.sink_magnitudes for p in shown]),
    }
    return Figure(
        rows=arranged(panels, width),
        title=f"Hidden states at the input of layer {reading.focus.layer} "
        f"(sinks: {sinks_by_kind(reading)})",
        notes=(
            f"Sink dimensions {dims_of(reading)} in colour. Hatched: below the 16th largest, "
            "not recorded. The non-sink is the one that gets the most attention. "
            f"{sinks_rule(reading)}".rstrip(),
        ),
        metadata=origin("hidden", reading),
        arrays={**columns, **sinks},
        table=columns,
    )


def build_contribution(reading: Reading, *, width: Width = "two-columns") -> Figure:
    """Attention and attention contribution of each kind of token (Fig. 3c)."""
    found = contributions(reading)
    places = np.arange(len(found.groups))
    attention, share, mean, tokens = (
        np.array([getattr(group, name) for group in found.groups])
        for name in ("attention", "share", "per_token", "tokens")
    )
    across = Scale("", -0.6, len(places) - 0.4, names=_GROUPS)
    top = 1.08 * float(np.nanmax([*attention, *share, 0.05]))
    shares = PlotPanel(
        title="",
        marks=(
            Marks("attention", "bars", places - 0.2, attention, PLAIN_COLOUR, 0.38),
            Marks("contribution ‖α v Wₒ‖", "bars", places + 0.2, share, VISUAL_COLOUR, 0.38),
        ),
        x=across,
        y=Scale("% of the sum", 0.0, top, percent=True),
    )
    highest = float(np.nanmax(mean, initial=0.0))
    each = PlotPanel(
        title="",
        marks=(Marks("", "bars", places, mean, VISUAL_COLOUR, 0.7),),
        x=across,
        y=Scale("mean ‖α v Wₒ‖ per token", 0.0, 1.08 * highest if highest > 0 else 1.0),
    )
    columns: dict[str, npt.NDArray[Any]] = {
        "group": np.array([group.name for group in found.groups]),
        "tokens": tokens,
        "attention": attention,
        "contribution_share": share,
        "contribution_sum": np.array([group.sum for group in found.groups]),
        "contribution_per_token": mean,
    }
    baseline, hidden = np.array(found.visual.per_token), reading.unknown is not None
    return Figure(
        rows=arranged((shares, each), width),
        title=f"{token_line(reading)} · {focus_line(reading, 'mean')}",
        notes=(
            f"Mean over all visual tokens: {found.visual.per_token:.3g} per token, in units of "
            f"the residual stream. {sinks_rule(reading)}".rstrip(),
            *((f"Shares, and what has no bar, are {LEFT_OUT}.",) if hidden else ()),
        ),
        metadata=origin("contribution", reading),
        arrays={**columns, "visual_per_token": baseline},
        table=columns,
    )


def build_ledger(reading: Reading, *, width: Width = "two-columns") -> Figure:
    """Where the attention of the row lies, before and after local redistribution (Sec. 5.2)."""
    ledger = reading.ledger
    places = np.arange(len(ledger.accounts))
    before, after = (
        np.array([getattr(account, side) for account in ledger.accounts])
        for side in ("before", "after")
    )
    top = float(np.nanmax(np.array([before, after]), initial=0.01))
    panel = PlotPanel(
        title="",
        marks=(
            Marks("before", "bars", places - 0.2, before, PLAIN_COLOUR, 0.38),
            Marks("after, local", "bars", places + 0.2, after, VISUAL_COLOUR, 0.38),
        ),
        x=Scale("", -0.6, len(places) - 0.4, names=_GROUPS),
        y=Scale("attention (% of the row)", 0.0, 1.08 * top, percent=True),
        aspect=0.35 if width != "column" else 0.55,
    )
    columns: dict[str, npt.NDArray[Any]] = {
        "account": np.array([account.name for account in ledger.accounts]),
        "before": before,
        "after": after,
        "change": after - before,
    }
    return Figure(
        rows=((panel,),),
        title=f"{token_line(reading)} · {focus_line(reading, 'mean')}",
        notes=(
            *_ledger_notes(reading),
            *sinks_unknown(reading, layers_in_focus(reading)),
            f"{acts_line(reading)}.",
        ),
        metadata=origin("ledger", reading),
        arrays={**columns, "budget": np.array(ledger.budget)},
        table=columns,
    )


def _ledger_notes(reading: Reading) -> tuple[str, ...]:
    ledger = reading.ledger
    budget = f"Local: Ω = {100 * ledger.budget:.3g} % of the row moved"
    if not redistributes(reading):
        budget = f"Local: {gained_line(ledger.budget)}"
    if reading.unknown is None:
        sums = f"{100 * ledger.sum_before:.3g} % before and {100 * ledger.sum_after:.3g} % after"
        return (f"{budget}; it sums to {sums}.",)
    if math.isnan(ledger.budget):
        return (f"What moves is {LEFT_OUT}.",)
    return f"{budget}.", f"What has no bar is {LEFT_OUT}."


def build_shares(reading: Reading, *, width: Width = "two-columns") -> Figure:
    """The share of image-centric heads of each text token (Fig. 10). Reads every row of the run."""
    run = reading.run
    share = image_centric_share(run, reading.settings)
    tokens = [run.tokens[int(position)] for position in run.query_positions]
    answer = np.array([token.role == "generated" for token in tokens], dtype=bool)
    places = np.arange(len(tokens))
    names = tuple(bare(token.text) for token in tokens)
    groups = (("question", ~answer, PLAIN_COLOUR), ("answer", answer, CENTRIC_COLOUR))
    panel = PlotPanel(
        title="",
        marks=tuple(
            Marks(name, "bars", places[mask], share[mask], colour, 0.8)
            for name, mask, colour in groups
            if mask.any()
        ),
        x=Scale("", -0.7, len(places) - 0.3, names=names, turned=True),
        y=Scale(
            "heads (% of all)", 0.0, 1.08 * max(float(share.max(initial=0)), 0.05), percent=True
        ),
        aspect=0.3 if width != "column" else 0.5,
    )
    columns: dict[str, npt.NDArray[Any]] = {
        "position": run.query_positions,
        "text": np.array([token.text for token in tokens]),
        "generated": answer,
        "image_centric_share": share,
    }
    return Figure(
        rows=((panel,),),
        title=f"Share of image-centric heads of each text token, of {run.n_layers * run.n_heads}",
        notes=(f"{heads_by_line(reading.settings)}.",),
        metadata=origin("shares", reading),
        arrays=columns,
        table=columns,
    )


def profile_panel(shown: TokenProfile, hidden_size: int, top: float, aspect: float) -> PlotPanel:
    kinds = {"first": "BOS", "sink": "visual sink", "ordinary": "visual non-sink"}
    name = kinds.get(shown.kind, "visual token")
    plain = ~np.isin(shown.dims, shown.sink_dims)
    known = np.isfinite(shown.sink_magnitudes)
    dims = np.array(shown.sink_dims, dtype=np.int64)
    return PlotPanel(
        title=name if shown.token < 0 else f"{name} {shown.token}",
        marks=(
            Marks("", "stems", shown.dims[plain], shown.magnitudes[plain], BOS_COLOUR),
            Marks("", "stems", dims[known], shown.sink_magnitudes[known], SINK_COLOUR),
        ),
        x=Scale("dimension", 0.0, float(hidden_size), whole=True),
        y=Scale("|x| / rms", 0.0, top),
        hatched=shown.floor,
        aspect=aspect,
    )


def arranged(panels: tuple[Panel, ...], width: Width) -> tuple[tuple[Panel, ...], ...]:
    """Under each other in a column, else side by side."""
    return tuple((panel,) for panel in panels) if width == "column" else (panels,)
