"""The command `export` and its options."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import typer

from var_studio.cli.commands.options import (
    ConventionOption,
    MassMin,
    P,
    Rho,
    SessionFile,
    SettingsFile,
    Tau,
)
from var_studio.cli.terminal import examples
from var_studio.errors import VarStudioError
from var_studio.figures.names import FIGURE_NAMES, LIKE

EXAMPLES = (
    examples(
        "var-studio export cup.vars --figure map --token g0 --layer 3 --head 5 --out map.pdf",
        "var-studio export cup.vars --figure map --run baseline --compare-with VAR --out two.pdf",
        "var-studio export cup.vars --figure answers --out answers.svg",
        "var-studio export cup.vars --figure heads --run VAR --with-data --out heads.svg",
        "var-studio export cup.vars --figure histogram --layer 3 --width column --out phi.png",
        "var-studio export cup.vars --figure map --figure heads --tokens all --out figures/",
        "var-studio export cup.vars --maps --tokens generated --layers 3-5 --out maps.npz",
        "var-studio export cup.vars --figure maps --tokens cup,left --layer 12 --out fig1.pdf",
        "var-studio export cup.vars --figure before_after --width 88mm --out fig6.pdf",
        "var-studio export cup.vars --masks --layer 3 --out sinks.png",
    )
    + "--token 117 is a position in the sequence, g0 the first generated token, g-1 the last one; "
    "`var-studio info` lists both."
)

_FIGURES = (*(name.key for name in FIGURE_NAMES), *LIKE)
# Typer takes a list of an Enum, and none of a Literal.
FigureName = Enum("FigureName", {name: name for name in _FIGURES}, type=str)  # type: ignore[misc]
FormatName = Enum("FormatName", {"pdf": "pdf", "svg": "svg", "png": "png"}, type=str)


def export(
    context: typer.Context,
    session: SessionFile,
    out: Annotated[
        Path, typer.Option(metavar="F.pdf|svg|png", help="Figure to write; of a batch its folder.")
    ],
    figure: Annotated[
        list[FigureName] | None, typer.Option(help="What to draw; several make a batch.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="N|gN|WORD",
            help="Position, gN for a generated token, or the text of one. [default: g0]",
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="A batch, or the words of one composed figure: all, generated, 12-20, g0-g5, or "
            "words; with commas between them.",
        ),
    ] = None,
    layer: Annotated[
        int | None,
        typer.Option(help="From 0. [default: mean over layers; phi of the middle one]"),
    ] = None,
    layers: Annotated[
        str | None, typer.Option(metavar="LIST", help="A batch: all, or like 0,5-9.")
    ] = None,
    head: Annotated[int | None, typer.Option(help="From 0. [default: mean over heads]")] = None,
    heads: Annotated[
        str | None, typer.Option(metavar="LIST", help="A batch: all, or like 0,5-9.")
    ] = None,
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name or number. [default: the first]")
    ] = None,
    runs: Annotated[
        str | None, typer.Option(metavar="LIST", help="A batch: all, or names with commas.")
    ] = None,
    compare_with: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A second run of the same question: a map then is global (two runs). [default: "
            "none; of answers the first other answer]",
        ),
    ] = None,
    row: Annotated[
        Literal["query", "produced"],
        typer.Option(
            help="The token's own row, or that of the step that produced it, of the token before; "
            "the figure says so."
        ),
    ] = "query",
    with_data: Annotated[
        bool, typer.Option("--with-data", help="Write NPZ, CSV, JSON and a script beside it.")
    ] = False,
    maps: Annotated[
        bool,
        typer.Option("--maps", help="No figure: maps of every head as arrays (.npz, .csv)."),
    ] = False,
    quantity: Annotated[
        Literal["attention", "contribution"],
        typer.Option(help="What a map, or --maps, shows: α, or its contribution α·‖v W_O‖."),
    ] = "attention",
    masks: Annotated[
        bool,
        typer.Option(
            "--masks", help="No figure: masks of the visual sinks, per layer (.npz, .csv, .png)."
        ),
    ] = False,
    file_format: Annotated[
        list[FormatName] | None,
        typer.Option("--format", help="Files of a batch, once for each. [default: pdf]"),
    ] = None,
    width: Annotated[
        str,
        typer.Option(
            metavar="WIDTH",
            help="column, two-columns or slide (3.35, 6.9, 10 inches), or a length: 88mm, 3.5in.",
        ),
    ] = "two-columns",
    style: Annotated[
        Path | None,
        typer.Option(metavar="F.mplstyle", help="A matplotlib style file, on top of ours."),
    ] = None,
    dpi: Annotated[
        int, typer.Option(help="Dots per inch of a PNG, and of the picture in a PDF or SVG.")
    ] = 300,
    scale: Annotated[
        Literal["robust", "full", "non-sinks"],
        typer.Option(
            help="Last colour of a map: 99 % quantile of non-sinks, largest, largest non-sink."
        ),
    ] = "robust",
    gamma: Annotated[
        float,
        typer.Option(
            min=0.1, max=10.0, help="Exponent of a map's colours; below 1 small values stand apart."
        ),
    ] = 1.0,
    colours: Annotated[
        Literal["viridis", "cividis", "magma", "inferno", "gray"],
        typer.Option(help="Colours of a map."),
    ] = "viridis",
    opacity: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Opacity of a map over the picture.")
    ] = 0.8,
    hide_sinks: Annotated[
        bool, typer.Option("--hide-sinks", help="Leave the visual sinks of a map bare.")
    ] = False,
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
    as_json: Annotated[bool, typer.Option("--json", help="For a script.")] = False,
    tau: Tau = None,
    rho: Rho = None,
    p: P = None,
    mass_min: MassMin = None,
    convention: ConventionOption = None,
    settings: SettingsFile = None,
) -> None:
    """Draw figures of a session; needs no model. Prints the files written.

    Redistribution shown is local: the recorded row under the settings given here, else under
    those of the run (where it has none, the defaults below). With --compare-with a map is global:
    the baseline's row, and the row that the second run used. A file that exists is kept unless
    --overwrite is given.

    An option that plays no part in any of the figures named is refused.

    A batch goes into a folder, with an index.csv of what was drawn and what was not: tokens
    without a row are left out and told. A figure that cannot be drawn is told and the others are
    drawn; the exit code is 3 then.
    """
    from var_studio.cli import export as exporting

    # An option that was named with its default is one that was named.
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source and source.name != "DEFAULT"}
    look = exporting.look_of(scale, smooth, gamma, colours, opacity, hide_sinks)
    asked = exporting.Asked(
        session=session,
        out=out,
        figures=tuple(dict.fromkeys(each.value for each in figure or ())),
        run=run,
        runs=runs,
        compare_with=compare_with,
        token=token,
        tokens=tokens,
        row_of=row,
        layer=layer,
        layers=layers,
        head=head,
        heads=heads,
        changes={"tau": tau, "rho": rho, "p": p, "mass_min": mass_min, "convention": convention},
        settings_file=settings,
        width=width,
        style=style,
        dpi=dpi,
        formats=tuple(dict.fromkeys(each.value for each in file_format or ())),
        with_data=with_data,
        image=image,
        view=view,
        look={**look, "quantity": quantity},
        overwrite=overwrite,
        as_json=as_json,
        given=given,
    )
    if maps or masks:
        from var_studio.cli import numbers

        if maps and masks:
            raise VarStudioError(
                "--maps and --masks are two files.", "Ask for one after the other."
            )
        numbers.export_numbers(asked, "masks" if masks else "maps", quantity)
        return
    exporting.export(asked)
