"""The commands: here their names, options and help; what each does is in `cli`, by its name."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import var_studio
from var_studio.cli.commands import (
    compare,
    convert,
    demo,
    doctor,
    export,
    forecast,
    gallery,
    gui,
    info,
    pack,
    record,
)
from var_studio.cli.stopping import begun
from var_studio.cli.terminal import complain, examples, stopped


class _Stoppable(TyperGroup):
    """The commands; Ctrl-C ends each of them with a word, also one that says none itself."""

    def invoke(self, ctx: Any) -> Any:
        begun()
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            complain("Stopped.")
            raise stopped() from None


app = typer.Typer(
    cls=_Stoppable,
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
        from var_studio.cli import open_window

        raise typer.Exit(open_window((), demo=False, quit_after_first_paint=False))


for _function, _examples in (
    (gui.gui, gui.EXAMPLES),
    (record.record, record.EXAMPLES),
    (forecast.forecast, forecast.EXAMPLES),
    (info.info, info.EXAMPLES),
    (pack.pack, pack.EXAMPLES),
    (compare.compare, compare.EXAMPLES),
    (export.export, export.EXAMPLES),
    (gallery.gallery, gallery.EXAMPLES),
    (convert.convert, convert.EXAMPLES),
    (demo.demo, demo.EXAMPLES),
    (doctor.doctor, doctor.EXAMPLES),
):
    app.command(epilog=_examples)(_function)


def command() -> Any:
    """The whole command line as one callable."""
    return typer.main.get_command(app)
