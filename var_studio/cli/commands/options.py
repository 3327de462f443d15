"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from var_studio.cli.terminal import described, option_help
from var_studio.recording.settings import Redistribution

LIST_FORM = " Like 0,5-9."

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
    typer.Option(metavar="LIST", help=described(Redistribution, "region") + LIST_FORM),
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
    typer.Option(metavar="LIST", help=option_help(Redistribution, "sink_dims") + LIST_FORM),
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
