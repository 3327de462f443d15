"""The command `record` and its options."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import typer

from var_studio.cli.commands.options import (
    LIST_FORM,
    ConventionOption,
    Device,
    Dtype,
    FirstLayer,
    Heads,
    LastLayer,
    MassMin,
    P,
    Quantize,
    Region,
    Rho,
    SettingsFile,
    SinkDims,
    Source,
    Target,
    Tau,
    TrustRemoteCode,
)
from var_studio.cli.terminal import described, examples, option_help
from var_studio.recording.settings import Contrast, Generation, HeadAblation, Knockout

EXAMPLES = (
    examples(
        'var-studio record --model demo --image cup.png --prompt "What is this?" --out cup.vars',
        "var-studio record --model ~/models/llava-1.5-7b --image a.jpg --prompt Describe. \\",
        "    --out a.vars --var --rho 0.5 --max-new-tokens 64",
        "var-studio record --image cup.png --prompt Describe. --out b.vars \\",
        "    --knockout visual-sinks --knockout random-visual --pair",
        'var-studio record --follow-up cup.vars --prompt "Is it full?" --out more.vars --pair',
    )
    + "Ctrl-C stops within a token: what was recorded is saved. A second Ctrl-C stops at once."
)

_KNOCKOUTS = {"visual_sinks": "visual-sinks", "random_visual": "random-visual", "chosen": "chosen"}
# Typer takes a list of an Enum, and none of a Literal.
KnockoutName = Enum("KnockoutName", _KNOCKOUTS, type=str)  # type: ignore[misc]


def record(
    prompt: Annotated[str, typer.Option(help="The question.")],
    out: Annotated[Path, typer.Option(metavar="S.vars", help="Session file to write.")],
    image: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="The picture; give it again for each further one."),
    ] = None,
    follow_up: Annotated[
        str | None,
        typer.Option(
            metavar="S.vars[#RUN]",
            help="Ask on about the pictures of a run, by name or number. [default run: the first]",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="demo, a checkpoint folder, or a hub id. "
            "[default: demo; for a follow-up the model of its run]",
        ),
    ] = None,
    var: Annotated[
        bool | None,
        typer.Option(
            "--var/--no-var",
            help="Record a second run with redistribution after the baseline. "
            "[default: where one of its settings is given]",
        ),
    ] = None,
    pair: Annotated[
        bool,
        typer.Option(
            "--pair",
            help="Also score the baseline's own answer under the intervention "
            "(teacher-forced); see `var-studio compare`. Alone, it records redistribution.",
        ),
    ] = False,
    knockout: Annotated[
        list[KnockoutName] | None,
        typer.Option(
            help="Knockout in the second run; several are recorded one after the other. "
            + described(Knockout, "tokens")
        ),
    ] = None,
    positions: Annotated[
        str | None,
        typer.Option(metavar="LIST", help=described(Knockout, "positions") + LIST_FORM),
    ] = None,
    ablate_heads: Annotated[
        Literal["image-centric", "random", "complement"] | None,
        typer.Option(help="Head ablation in the second run. " + described(HeadAblation, "heads")),
    ] = None,
    contrast: Annotated[
        float | None,
        typer.Option(
            metavar="A",
            help="Contrastive decoding in the second run. " + described(Contrast, "strength"),
        ),
    ] = None,
    cutoff: Annotated[float | None, typer.Option(help=option_help(Contrast, "cutoff"))] = None,
    noise_step: Annotated[
        int | None, typer.Option(help=option_help(Contrast, "noise_step"))
    ] = None,
    intervention_seed: Annotated[
        int | None,
        typer.Option(help="Seed of what an intervention draws: tokens, heads, noise. [default: 0]"),
    ] = None,
    tau: Tau = None,
    rho: Rho = None,
    p: P = None,
    mass_min: MassMin = None,
    convention: ConventionOption = None,
    heads: Heads = None,
    source: Source = None,
    target: Target = None,
    region: Region = None,
    first_layer: FirstLayer = None,
    last_layer: LastLayer = None,
    sink_dims: SinkDims = None,
    settings: SettingsFile = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help=option_help(Generation, "max_new_tokens"))
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help=option_help(Generation, "temperature"))
    ] = None,
    top_p: Annotated[float | None, typer.Option(help=option_help(Generation, "top_p"))] = None,
    seed: Annotated[int | None, typer.Option(help=option_help(Generation, "seed"))] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantization: Quantize = None,
    trust_remote_code: TrustRemoteCode = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the session file if it exists.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="For a script: the file, and what was answered.")
    ] = False,
) -> None:
    """Ask a model about a picture and record its attention.

    The baseline is always recorded; --var adds a run with redistribution, --knockout,
    --ablate-heads and --contrast one with these. --knockout goes with --var, --contrast with
    everything; --knockout given several times makes such a run for each, and with --pair the two
    that the figure `knockout` compares. Prints the answers and the file.
    """
    from var_studio.cli import record as recording
    from var_studio.cli.interventions import interventions_of, numbers

    method = {
        "positions": numbers("--positions", positions),
        "ablate_heads": ablate_heads,
        "contrast": contrast,
        "cutoff": cutoff,
        "noise_step": noise_step,
        "intervention_seed": intervention_seed,
        "tau": tau,
        "rho": rho,
        "p": p,
        "mass_min": mass_min,
        "convention": convention,
        "heads": heads,
        "source": source,
        "target": target,
        "region": numbers("--region", region),
        "first_layer": first_layer,
        "last_layer": last_layer,
        "sink_dims": numbers("--sink-dims", sink_dims),
    }
    decoding = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
    }
    changes = []
    for hidden in dict.fromkeys(each.value for each in knockout) if knockout else [None]:
        given = method | {"knockout": hidden}
        if knockout and len(knockout) > 1 and hidden != "chosen":
            given["positions"] = None
        found = interventions_of(var, settings, given)
        if pair and not found:
            found = interventions_of(var is not False, settings, given)
        changes.append(found)
    recording.record(
        recording.Task(
            prompt,
            out,
            tuple(image or ()),
            follow_up,
            model,
            device,
            dtype,
            quantization,
            trust_remote_code,
            overwrite,
            as_json,
        ),
        recording.generation(**decoding),
        changes,
        pair=pair,
    )
