"""The commands and their options; what each does is in the module of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import var_studio
from var_studio.cli.terminal import described, examples, option_help
from var_studio.recording.settings import (
    Contrast,
    Generation,
    HeadAblation,
    Knockout,
    Redistribution,
)

app = typer.Typer(
    name="var-studio",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    no_args_is_help=False,
    help="See where a multimodal model looks while it answers: its attention sinks, its "
    "image-centric heads, and what redistributing their attention (VAR) would change.\n\n"
    "With no command the window opens.",
    epilog=examples(
        "var-studio gui --demo",
        'var-studio record --model demo --image cup.png --prompt "What is this?" --out cup.vars',
        "var-studio info cup.vars",
        "var-studio export cup.vars --figure map --token g0 --out map.pdf",
    ),
)

_LIST = " Like 0,5-9."

SessionFile = Annotated[Path, typer.Argument(metavar="S.vars", help="Session file.")]
Tau = Annotated[float | None, typer.Option(help=option_help(Redistribution, "tau"))]
Rho = Annotated[float | None, typer.Option(help=option_help(Redistribution, "rho"))]
P = Annotated[float | None, typer.Option("--p", help=option_help(Redistribution, "p"))]
MassMin = Annotated[float | None, typer.Option(help=option_help(Redistribution, "mass_min"))]
ConventionOption = Annotated[
    Literal["paper", "released-code"] | None,
    typer.Option(help=option_help(Redistribution, "convention")),
]
Heads = Annotated[
    Literal["selected", "all"] | None, typer.Option(help=option_help(Redistribution, "heads"))
]
Source = Annotated[
    Literal["all", "visual", "text"] | None,
    typer.Option(help=option_help(Redistribution, "source")),
]
Target = Annotated[
    Literal["visual", "text", "both", "region"] | None,
    typer.Option(help=option_help(Redistribution, "target")),
]
Region = Annotated[
    str | None,
    typer.Option(metavar="LIST", help=described(Redistribution, "region") + _LIST),
]
FirstLayer = Annotated[int | None, typer.Option(help=option_help(Redistribution, "first_layer"))]
LastLayer = Annotated[
    int | None,
    typer.Option(
        help="Last layer changed. [default: redistribution: all but the model's last; else its "
        "last]"
    ),
]
SinkDims = Annotated[
    str | None,
    typer.Option(metavar="LIST", help=option_help(Redistribution, "sink_dims") + _LIST),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings", metavar="F.json", help="Settings written beside a figure; options go first."
    ),
]

Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1, balanced (over all GPUs), mps ...")
]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"], typer.Option(help="Precision.")
]
Quantize = Annotated[
    Literal["8bit", "4bit"] | None,
    typer.Option("--quantization", help="Pack the decoder layers (needs bitsandbytes)."),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Run the Python code that comes with a model which nothing else can load.",
    ),
]


def command() -> Any:
    """The whole command line as one callable."""
    return typer.main.get_command(app)


@app.callback()
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say the version and stop.")] = False,
) -> None:
    """Open the window when no command is given."""
    if version:
        print(f"var-studio {var_studio.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit(_open_window(None, demo=False, quit_after_first_paint=False))


@app.command(epilog=examples("var-studio gui --demo", "var-studio gui cup.vars"))
def gui(
    file: Annotated[
        Path | None, typer.Argument(metavar="[S.vars]", help="Session to open.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Load the demo model at once.")] = False,
    quit_after_first_paint: Annotated[
        bool, typer.Option(help="Print how long the first paint took, as JSON, and close.")
    ] = False,
) -> None:
    """Open the window."""
    raise typer.Exit(_open_window(file, demo, quit_after_first_paint))


@app.command(
    epilog=examples(
        'var-studio record --model demo --image cup.png --prompt "What is this?" --out cup.vars',
        "var-studio record --model ~/models/llava-1.5-7b --image a.jpg --prompt Describe. \\",
        "    --out a.vars --var --rho 0.5 --max-new-tokens 64",
        "var-studio record --image cup.png --prompt Describe. --out b.vars \\",
        "    --knockout random-visual --intervention-seed 1",
        'var-studio record --follow-up cup.vars --prompt "Is it full?" --out more.vars --pair',
    )
    + "Ctrl-C stops within a token: what was recorded is saved. A second Ctrl-C stops at once."
)
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
        Literal["visual-sinks", "random-visual", "chosen"] | None,
        typer.Option(help="Knockout in the second run. " + described(Knockout, "tokens")),
    ] = None,
    positions: Annotated[
        str | None,
        typer.Option(metavar="LIST", help=described(Knockout, "positions") + _LIST),
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
) -> None:
    """Ask a model about a picture and record its attention.

    The baseline is always recorded; --var adds a run with redistribution, --knockout,
    --ablate-heads and --contrast one with these. --knockout goes with --var, --contrast with
    everything. Prints the answers and the file.
    """
    from var_studio.cli import record as recording
    from var_studio.cli.interventions import interventions_of, numbers

    method = {
        "knockout": knockout,
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
    changes = interventions_of(var, settings, method)
    if pair and not changes:
        changes = interventions_of(var is not False, settings, method)
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
        ),
        recording.generation(**decoding),
        changes,
        pair=pair,
    )


@app.command(
    epilog=examples(
        "var-studio forecast llava-hf/llava-1.5-7b-hf --dtype bfloat16",
        "var-studio forecast ~/models/llava-1.5-7b --image cup.png --max-new-tokens 64 --json",
    )
)
def forecast(
    model: Annotated[
        str, typer.Argument(metavar="NAME", help="demo, a checkpoint folder, or a hub id.")
    ],
    image: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|WxH", help="A picture, or its size; more than once for more."),
    ] = None,
    prompt: Annotated[str, typer.Option(help="The question.")] = "Describe the image.",
    max_new_tokens: Annotated[
        int | None, typer.Option(help=option_help(Generation, "max_new_tokens"))
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantization: Quantize = None,
    trust_remote_code: TrustRemoteCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="For a script.")] = False,
) -> None:
    """Say what a model, and with --image a run, will take: device memory, RAM and disk.

    No weights are read or downloaded.
    """
    from var_studio.cli import forecast as forecasting
    from var_studio.cli.record import generation

    forecasting.show(
        model,
        tuple(image or ()),
        prompt,
        generation(max_new_tokens=max_new_tokens),
        as_json,
        device=device,
        dtype=dtype,
        quantization=quantization,
        trust_remote_code=trust_remote_code,
    )


@app.command(epilog=examples("var-studio info cup.vars", "var-studio info cup.vars --json"))
def info(
    session: SessionFile,
    as_json: Annotated[bool, typer.Option("--json", help="For a script.")] = False,
) -> None:
    """Say what a session holds: runs, settings, answers, and the tokens with their positions."""
    from var_studio.cli import contents

    contents.show(session, as_json)


@app.command(
    epilog=examples(
        "var-studio compare cup.vars",
        "var-studio compare cup.vars --run VAR --token g3",
        "var-studio compare cup.vars --json",
    )
)
def compare(
    session: SessionFile,
    run: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name or number. [default: all with that question]"),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name or number. [default: the first without an intervention]"
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(metavar="N|gN", help="Show what the model would say there, before and after."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For a script, with the candidates of every token.")
    ] = False,
) -> None:
    """Compare answers of a session: where they part, and how likely the baseline's own still is.

    Scores need a teacher-forced run: `var-studio record --pair`. They are log-probabilities in
    nats, before temperature.
    """
    from var_studio.cli import compare as comparing

    comparing.show(session, baseline, run, token, as_json)


FigureName = Literal[
    "map",
    "histogram",
    "heads",
    "scatter",
    "head_scatter",
    "layers",
    "hidden",
    "contribution",
    "shares",
]


@app.command(
    epilog=examples(
        "var-studio export cup.vars --figure map --token g0 --layer 3 --head 5 --out map.pdf",
        "var-studio export cup.vars --figure heads --run VAR --with-data --out heads.svg",
        "var-studio export cup.vars --figure histogram --layer 3 --width column --out phi.png",
    )
    + "--token 117 is a position in the sequence, g0 the first generated token, g-1 the last one; "
    "`var-studio info` lists both."
)
def export(
    session: SessionFile,
    out: Annotated[Path, typer.Option(metavar="F.pdf|svg|png", help="Figure file to write.")],
    figure: Annotated[FigureName, typer.Option(help="What to draw.")],
    token: Annotated[
        str | None,
        typer.Option(metavar="N|gN", help="Position, or gN for a generated token. [default: g0]"),
    ] = None,
    layer: Annotated[
        int | None,
        typer.Option(help="From 0. [default: mean over layers; phi of the middle one]"),
    ] = None,
    head: Annotated[int | None, typer.Option(help="From 0. [default: mean over heads]")] = None,
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name or number. [default: the first]")
    ] = None,
    row: Annotated[
        Literal["query", "produced"],
        typer.Option(help="The token's own row, or the step that produced it."),
    ] = "query",
    with_data: Annotated[
        bool, typer.Option("--with-data", help="Write NPZ, CSV and JSON beside the figure.")
    ] = False,
    width: Annotated[
        Literal["column", "two-columns", "slide"], typer.Option(help="3.35, 6.9 or 10 inches.")
    ] = "two-columns",
    dpi: Annotated[int, typer.Option(help="Dots per inch of a PNG.")] = 300,
    scale: Annotated[
        Literal["robust", "full", "non-sinks"],
        typer.Option(
            help="Last colour of a map: 99 % quantile of non-sinks, largest, largest non-sink."
        ),
    ] = "robust",
    smooth: Annotated[
        bool, typer.Option("--smooth", help="Interpolate a map; otherwise its cells stay crisp.")
    ] = False,
    image: Annotated[
        int | None,
        typer.Option(metavar="N", help="Image that a map shows, from 1. [default: 1]"),
    ] = None,
    view: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="View (crop, tile, thumbnail) that a map shows, from 0; `info` lists them. "
            "[default: the finest views of the image]",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files written if they exist.")
    ] = False,
    tau: Tau = None,
    rho: Rho = None,
    p: P = None,
    mass_min: MassMin = None,
    convention: ConventionOption = None,
    settings: SettingsFile = None,
) -> None:
    """Draw a figure of a session; needs no model. Prints the files written.

    Redistribution shown is local: the recorded row under the settings given here, else under
    those of the run (where it has none, the defaults below). A file that exists is kept unless
    --overwrite is given.
    """
    from var_studio.cli import export as exporting

    method = {"tau": tau, "rho": rho, "p": p, "mass_min": mass_min, "convention": convention}
    exporting.export(
        session,
        run,
        figure,
        out,
        token=token,
        row_of=row,
        layer=layer,
        head=head,
        changes=method,
        settings_file=settings,
        width=width,
        dpi=dpi,
        with_data=with_data,
        scale=scale,
        smooth=smooth,
        image=image,
        view=view,
        overwrite=overwrite,
    )


@app.command(
    epilog=examples(
        "var-studio convert ~/models/InternVL2-8B ~/models/InternVL2-8B-hf",
        "var-studio convert OpenGVLab/InternVL2-8B InternVL2-8B-hf --json",
    )
)
def convert(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The original's folder, or its hub id.")
    ],
    destination: Annotated[
        Path, typer.Argument(metavar="DESTINATION", help="Folder to make; must not exist.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For a script.")] = False,
) -> None:
    """Make an original InternVL2 (InternLM2 inside) a checkpoint that transformers knows.

    Its Python code is not run. Weights are copied as they are, with little memory. Prints the
    folder.
    """
    from var_studio.cli import convert as converting

    converting.convert(source, destination, as_json=as_json)


@app.command(epilog=examples("var-studio demo --out demo-output"))
def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where files go.")] = Path(
        "demo-output"
    ),
) -> None:
    """A tour with no display: ask the demo model, record, export figures, say where they are."""
    from var_studio.cli import demo as tour

    tour.demo(out)


def _open_window(file: Path | None, demo: bool, quit_after_first_paint: bool) -> int:
    from var_studio.cli import open_window

    return open_window(file, demo, quit_after_first_paint)
