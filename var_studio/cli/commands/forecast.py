"""The command `forecast` and its options."""

from __future__ import annotations

from typing import Annotated

import typer

from var_studio.cli.commands.options import Device, Dtype, Quantize, TrustRemoteCode
from var_studio.cli.terminal import examples, option_help
from var_studio.recording.settings import Generation

EXAMPLES = examples(
    "var-studio forecast llava-hf/llava-1.5-7b-hf --dtype bfloat16",
    "var-studio forecast ~/models/llava-1.5-7b --image cup.png --max-new-tokens 64 --json",
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
