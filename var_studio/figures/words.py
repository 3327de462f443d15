"""How figures name tokens, heads and settings."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from var_studio.recording.interventions import on_attention
from var_studio.recording.settings import (
    AttentionIntervention,
    Contrast,
    HeadAblation,
    Intervention,
    Redistribution,
)
from var_studio.recording.tokens import visible

if TYPE_CHECKING:
    from var_studio.analysis.focus import Aggregate
    from var_studio.analysis.reading import Reading
    from var_studio.analysis.scale import Limits
    from var_studio.analysis.views import ShownViews
    from var_studio.figures.map_panels import MapOptions
    from var_studio.figures.spec import ImagePanel
    from var_studio.recording.layout import VisualLayout
    from var_studio.recording.recording import Recording


def token_line(reading: Reading) -> str:
    """The token in words: its text and position, and which row stands for it where that is not
    its own."""
    name = token_said(reading.run, reading.chosen)
    if reading.chosen == reading.position:
        return name
    return f"{name}, row of the step that produced it ({reading.position})"


def token_said(run: Recording, position: int) -> str:
    """A token in words, whichever row stands for it."""
    token = run.tokens[position]
    name = f"position {position}"
    if token.role == "generated":
        name += f", g{int(np.searchsorted(run.generated_positions, position))}"
    return f"{visible(token.text)} ({name})"


def sinks_by_kind(reading: Reading) -> str:
    """How many sinks of each kind the layer in focus has; the first token counts as BOS."""
    if not reading.sink_dims:
        return "unknown (no sink dimension is known)"
    layer = reading.focus.layer
    visual = int(reading.n_visual_sinks[layer])
    first = int(reading.sinks[layer, 0] and not reading.visual[0])
    text = int(reading.n_sinks[layer]) - visual - first
    named = [(visual, "visual"), (text, "text"), (first, "BOS")]
    found = ", ".join(f"{n} {what}" for n, what in named if n) or "none"
    if phi_undefined(reading):
        return f"{found} (φ of visual tokens undefined)"
    return found + (", more unknown" if undecided_line(reading, [layer]) else "")


def phi_undefined(reading: Reading) -> str:
    """Why no visual token of the run has a φ; empty in models where each has."""
    return str(reading.run.provenance.get("phi_undefined") or "")


NO_DIMS = (
    "No sink dimension is known for this model: discover them (Hidden state) or type them in Setup."
)


def no_dims(reading: Reading) -> str:
    """What to do where no sink dimension is known, so that nothing is known of sinks; else
    empty."""
    return "" if reading.sink_dims else NO_DIMS


def phi_known(reading: Reading, layer: int | None = None) -> str:
    """Of how many tokens φ is known in a layer, or in all layers together, and what is known of
    the others."""
    from var_studio.analysis.phi import phi_counts

    found = phi_counts(reading, layer)
    where = "" if layer is not None else " in all layers"
    if found.known == found.total:
        return f"all {found.total:,} tokens{where}"
    others = [
        (found.below, "below τ"),
        (found.undecided, "unknown"),
        (found.unread, "not read by the model"),
    ]
    told = ", ".join(f"{n:,} {what}" for n, what in others if n)
    return f"φ known for {found.known:,} of {found.total:,} tokens{where} ({told})"


def phi_notes(reading: Reading, layer: int | None = None) -> tuple[str, ...]:
    """What a figure says of tokens whose φ is not known; nothing where none could be a sink."""
    from var_studio.analysis.phi import phi_counts

    found = phi_counts(reading, layer)
    if no_dims(reading) or not found.below + found.undecided:
        return ()
    return (f"{phi_known(reading, layer)}.",)


AS_NON_SINKS = "counted as non-sinks"
UNKNOWN_PHI = f"Tokens of unknown φ: {AS_NON_SINKS}"
"""In short, where there is little room."""


def undecided_line(reading: Reading, layers: Sequence[int] | None = None) -> str:
    """How many tokens of these layers (None: of all) may be sinks or not, and what they are counted
    as; empty for none."""
    if phi_undefined(reading) or not reading.sink_dims:
        return ""
    numbers = reading.n_undecided
    looked_at = range(len(numbers)) if layers is None else layers
    found = np.array(sorted(layer for layer in looked_at if numbers[layer]), dtype=np.intp)
    if not len(found):
        return ""
    most = count(int(numbers[found].max()), "token")
    some = most if len(found) == 1 else f"up to {most}"
    return f"φ of {some} unknown in {layers_named(found)}: {AS_NON_SINKS}"


def layers_in_focus(reading: Reading) -> Sequence[int]:
    """The layers of the heads in focus: those whose sinks a mean over these heads counts on."""
    heads = reading.focus.heads
    return sorted({layer for layer, _ in heads}) or range(reading.run.n_layers)


def sinks_unknown(reading: Reading, layers: Sequence[int] | None = None) -> tuple[str, ...]:
    """What a figure that counts on the sinks of these layers (None: of all) says where they are
    not, or not all, known."""
    if no_dims(reading):
        return ("No sink dimension is known: no token is counted as a sink.",)
    line = undecided_line(reading, layers)
    return (f"{line}.",) if line else ()


def settings_line(settings: Redistribution) -> str:
    """The settings in one line, as figures print them."""
    parts = _heads_by(settings)
    parts.insert(2, f"p = {settings.p:g}")
    if settings.heads == "all":
        parts.append("all heads")
    if settings.source != "all":
        parts.append(f"from {settings.source} sinks")
    if settings.target == "region":
        parts.append(f"target a region of {count(len(settings.region), 'token')}")
    elif settings.target != "visual":
        parts.append(f"target {settings.target}")
    return ", ".join(parts + _layers_and_dims(settings))


def heads_by_line(settings: Redistribution) -> str:
    """What of the settings decides which heads are image-centric, in one line."""
    return ", ".join([*_heads_by(settings), *_dims_named(settings)])


def _heads_by(settings: Redistribution) -> list[str]:
    return [
        f"τ = {settings.tau:.4g}" if settings.tau is not None else "τ of the model",
        f"ρ = {settings.rho:g}",
        f"visual mass ≥ {settings.mass_min:g}",
        f"{settings.convention} convention",
    ]


def interventions_line(interventions: Sequence[Intervention]) -> str:
    """What is done to a run, in one line; empty for a baseline."""
    return "; ".join(_intervention_line(each) for each in interventions)


def _intervention_line(settings: Intervention) -> str:
    if isinstance(settings, Redistribution):
        return f"redistribution: {settings_line(settings)}"
    if isinstance(settings, Contrast):
        return (
            f"contrastive decoding: a = {settings.strength:g}, β = {settings.cutoff:g}, "
            f"noise step {settings.noise_step}, seed {settings.seed}"
        )
    parts = [f"τ = {settings.tau:.4g}" if settings.tau is not None else "τ of the model"]
    if isinstance(settings, HeadAblation):
        heads = {
            "image-centric": "image-centric heads",
            "random": "as many random heads as are image-centric",
            "complement": "all but the image-centric heads",
        }
        name = f"image hidden from {heads[settings.heads]}"
        parts += [f"ρ = {settings.rho:g}", f"visual mass ≥ {settings.mass_min:g}"]
        drawn = settings.heads == "random"
    else:
        tokens = {
            "visual-sinks": "visual sinks",
            "random-visual": "as many random visual tokens as there are visual sinks",
            "chosen": f"{count(len(settings.positions), 'chosen token')}",
        }
        name = f"knockout of {tokens[settings.tokens]}"
        drawn = settings.tokens == "random-visual"
        if settings.tokens == "chosen":
            return ", ".join([name, *_layers_and_dims(settings)])
    parts.append(f"{settings.convention} convention")
    if drawn:
        parts.append(f"seed {settings.seed}")
    return f"{name}: {', '.join(parts + _layers_and_dims(settings))}"


def _layers_and_dims(settings: AttentionIntervention) -> list[str]:
    """What is not as by default."""
    parts = []
    first, last = settings.first_layer, settings.last_layer
    if last is not None:
        parts.append(f"layers {first}–{last}" if first != last else f"layer {first} alone")
    elif first:
        parts.append(f"layers from {first}")
    return parts + _dims_named(settings)


def _dims_named(settings: AttentionIntervention) -> list[str]:
    if settings.sink_dims is None:
        return []
    return [f"sink dimensions {', '.join(map(str, settings.sink_dims)) or 'none'}"]


def acts_line(reading: Reading) -> str:
    """What the row after went through, in one line."""
    if reading.acts == (reading.settings,):
        return settings_line(reading.settings)
    line = interventions_line(reading.acts)
    return line[0].upper() + line[1:] if line else "Attention was left as it is"


def intervened_line(reading: Reading, rows: bool) -> str:
    """What a figure of one run says of the interventions it was made with; empty for a baseline.

    `rows`: whether it shows attention rows, which are recorded before anything acts on them.
    """
    done = reading.run.interventions
    named = " and ".join(re.split("[:,]", _intervention_line(each))[0] for each in done)
    if not named:
        return ""
    if rows and on_attention(done):
        return f"Rows as before the intervention ({named})."
    return f"Of a run made with an intervention ({named})."


def as_made(reading: Reading) -> bool:
    """Whether the row after is what the run itself did to it."""
    tau = {"tau": reading.run.tau_default}
    return reading.acts == tuple(
        each.model_copy(update=tau) if each.tau is None else each
        for each in on_attention(reading.run.interventions)
    )


def redistributes(reading: Reading) -> bool:
    """Whether the row after is redistributed and nothing else."""
    return all(isinstance(each, Redistribution) for each in reading.acts)


def focus_line(reading: Reading, aggregate: Aggregate | None = None) -> str:
    """Which heads, and what of them; `aggregate` for what is put together another way than maps."""
    heads, run = reading.focus.heads, reading.run
    of = "mean of" if (aggregate or reading.focus.aggregate) == "mean" else "largest of"
    if not heads:
        return f"{of} all {run.n_layers * run.n_heads} heads"
    layers = sorted({layer for layer, _ in heads})
    if len(heads) == 1:
        return f"layer {heads[0][0]}, head {heads[0][1]}"
    if len(layers) == 1:
        return f"layer {layers[0]}, {of} {len(heads)} heads"
    return f"{of} {len(heads)} heads in {len(layers)} layers"


def heads_line(reading: Reading) -> str:
    if len(reading.focus.heads) == 1:
        (pair,) = reading.focus.heads
        ratio, mass = reading.non_sink_ratio[pair], reading.visual_mass[pair]
        kind = "Image-centric" if reading.image_centric[pair] else "Not image-centric"
        budget = reading.ledger.budget
        told = f"budget Ω = {budget:.3f}" if redistributes(reading) else gained_line(budget)
        moved = told if reading.changed[pair] else "unchanged"
        if math.isnan(reading.ledger.budget):
            moved = f"what moves is {LEFT_OUT}"
        return f"{kind}: r = {ratio:.2f}, visual mass = {mass:.2f}, {moved}."
    pairs = reading.focus.heads or tuple(np.ndindex(reading.changed.shape))
    changed = sum(bool(reading.changed[pair]) for pair in pairs)
    how = "redistributed" if reading.acts == (reading.settings,) else "changed"
    return f"{changed} of {count(len(pairs), 'head')} {how}."


def gained_line(budget: float) -> str:
    """What other tokens gained where an intervention other than redistribution changed a row."""
    return f"other tokens gain {100 * budget:.3g} % of the row"


LEFT_OUT = "not known (weights on other text were not saved)"
PICTURE_LEFT_OUT = "The picture was left out when the session was saved."


def after_left_out(reading: Reading) -> str:
    """Why there is no map after, where that is so; else empty."""
    unknown = reading.unknown is not None and bool(np.isnan(reading.map_after).all())
    return f"The map after is {LEFT_OUT}." if unknown else ""


def bare_line(options: MapOptions) -> str:
    """That sinks have no colour, where they have none; the line on sinks says which are boxed."""
    if not options.bare_sinks:
        return ""
    return (
        f"{'The boxed cells' if options.sinks_boxed else 'Visual sinks'} are left without colour."
    )


def hatched_line(picture: ImagePanel) -> str:
    """What the hatched parts of a picture are; empty without any."""
    words = ["cropped away, never seen by the model"] if picture.unseen else []
    words += ["padding around the image"] if picture.padding else []
    return f"Hatched: {'; '.join(words)}." if words else ""


STRIP = "geometry unknown: shown as a strip"
STRIP_NOTE = f"{STRIP.capitalize()}, in the order of the sequence."


def image_line(reading: Reading, shown: ShownViews) -> str:
    """Which image, and which view of it, where there is more than what is shown; else empty."""
    layout = reading.run.layout
    n_images = len(layout.image_sizes)
    parts = [f"image {shown.image + 1} of {n_images}"] if n_images > 1 and layout.known else []
    of_image = [i for i, view in enumerate(layout.views) if view.image == shown.image]
    if len(shown.views) == 1 and len(of_image) > 1:
        parts.append(f"view “{layout.views[shown.views[0]].name}”")
    return ", ".join(parts)


def sinks_line(reading: Reading, shown: ShownViews) -> str:
    """How many sinks the picture shows boxed, and how many lie outside it."""
    layer, sinks = reading.focus.layer, reading.visual_sinks
    total = int(sinks.sum())
    undefined = phi_undefined(reading)
    if undefined:
        return f"φ of visual tokens is undefined: {undefined}."
    if not reading.run.layout.known:
        return f"{count(total, 'visual sink')} in layer {layer}."
    boxed = int((sinks & shown.tokens).sum())
    if boxed == total:
        return f"{count(total, 'visual sink')} of layer {layer} boxed."
    left = np.flatnonzero(sinks & ~shown.tokens)
    return (
        f"{boxed} of {count(total, 'visual sink')} of layer {layer} boxed; "
        f"the rest lie {_elsewhere(reading.run.layout, shown.image, left)}."
    )


def sinks_rule(reading: Reading, after: Reading | None = None) -> str:
    """By which threshold a token counts as a sink, in a sentence; in `after` perhaps by another."""
    if not reading.sink_dims or phi_undefined(reading):
        return ""
    tau = f"{reading.settings.tau:.4g}"
    later = tau if after is None else f"{after.settings.tau:.4g}"
    return f"Sinks by τ = {tau}." if later == tau else f"Sinks by τ = {tau}, after {later}."


def _elsewhere(layout: VisualLayout, image: int, tokens: npt.NDArray[np.intp]) -> str:
    """Where visual tokens lie that a picture of `image` does not show."""
    cells = [layout.cell_of(int(k)) for k in tokens]
    images = {layout.views[cell[0]].image for cell in cells if cell is not None}
    found = []
    if image in images:
        found.append("in other views of this image" if len(images) > 1 else "in other views")
    if images - {image}:
        found.append("in other images")
    if None in cells:
        found.append("in no view")
    return " and ".join(found)


def layers_named(layers: npt.NDArray[np.intp]) -> str:
    """Layers in words: "layers 2–5, 8"."""
    runs = np.split(layers, np.flatnonzero(np.diff(layers) != 1) + 1)
    named = [f"{r[0]}" if len(r) == 1 else f"{r[0]}–{r[-1]}" for r in runs if len(r)]
    return f"layer{'' if len(layers) == 1 else 's'} {', '.join(named)}"


def beyond_line(
    limits: Limits,
    sinks: npt.NDArray[np.bool_],
    *values: npt.NDArray[np.float32],
    of: str = "",
    percent: bool = True,
) -> str:
    """How many tokens share the last colour of a scale though they have more, and how far they go.

    `sinks` (V,), each of `values` (V,). Empty where none goes beyond.
    """
    outside = np.stack([(v > limits.high) | (v < limits.low) for v in values])
    beyond = outside.any(axis=0)
    if not beyond.any():
        return ""
    n_sinks = int((beyond & sinks).sum())
    named = [(n_sinks, "sink"), (int(beyond.sum()) - n_sinks, "other token")]
    who = " and ".join(count(n, noun) for n, noun in named if n)
    if not n_sinks:
        who = count(named[1][0], "token")
    reached = np.stack(values)[outside]
    furthest = (100 if percent else 1) * float(reached[np.abs(reached).argmax()])
    far = f"{furthest:.3g}".replace("-", "−")
    scale = f"the scale of the {of}" if of else "the scale"
    unit = "\N{NO-BREAK SPACE}%" if percent else ""
    return f"{who} beyond {scale}, {'down' if furthest < 0 else 'up'} to {far}{unit}."


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
