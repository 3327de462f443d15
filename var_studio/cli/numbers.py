"""``var-studio export --maps`` and ``--masks``: arrays in place of figures."""

from __future__ import annotations

from var_studio.analysis.contributions import Quantity
from var_studio.cli.batch import axis
from var_studio.cli.export import Asked, check_image, find_run, keep_existing, position_of, tell
from var_studio.cli.export_options import check_used
from var_studio.errors import VarStudioError
from var_studio.figures.batch import tokens_named
from var_studio.figures.numbers import files_of_numbers, maps_of, masks_of, save_numbers
from var_studio.recording.session import open_session

_NOT_OURS = {"runs", "with_data", "file_format", "width", "style", "dpi"}
_TOLD = ("runs", "format", "with-data", "width", "style", "dpi")


def export_numbers(asked: Asked, what: str, quantity: Quantity) -> None:
    """Write the maps or masks of a run, and print the files written. Raises VarStudioError."""
    if asked.figures or not _NOT_OURS.isdisjoint(asked.given):
        raise VarStudioError(
            f"--{what} are numbers of one run: they go with no figure, "
            f"{', '.join('--' + name for name in _TOLD)}.",
            "Leave these out; the file's ending says .npz, .csv or .png.",
        )
    check_used(asked.given, [f"--{what}"])
    check_image(asked)
    with open_session(asked.session) as opened:
        run = find_run(opened, asked.run)
        layers = axis("--layers", asked.layers, asked.layer, run.n_layers)
        settings = asked.settings(run)
        if what == "masks":
            image = None if asked.image is None else asked.image - 1
            found = masks_of(run, layers=layers, settings=settings, image=image, view=asked.view)
        else:
            tokens = None if asked.token is None else [position_of(run, asked.token)]
            if asked.tokens is not None:
                named = tokens_named(run, asked.tokens)
                shift = 0 if asked.row_of == "query" else 1
                tokens = [t for t in named if t >= shift and run.query_of(t - shift) is not None]
            found = maps_of(
                run,
                tokens=tokens,
                row_of=asked.row_of,
                layers=layers,
                heads=axis("--heads", asked.heads, asked.head, run.n_heads),
                settings=settings,
                quantity=quantity,
            )
        keep_existing(files_of_numbers(found, asked.out), asked.overwrite)
        written = save_numbers(found, asked.out)
    tell(written, asked.as_json)
