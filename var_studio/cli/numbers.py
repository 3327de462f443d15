"""``var-studio export --maps`` and ``--masks``: arrays in place of figures."""

from __future__ import annotations

from var_studio.analysis.contributions import Quantity
from var_studio.cli.batch import axis
from var_studio.cli.export import Asked, check_image, find_run, keep_existing, position_of, tell
from var_studio.errors import VarStudioError
from var_studio.figures.batch import tokens_named
from var_studio.figures.numbers import files_of_numbers, maps_of, masks_of, save_numbers
from var_studio.recording.session import open_session


def export_numbers(asked: Asked, what: str, quantity: Quantity) -> None:
    """Write the maps or masks of a run, and print the files written. Raises VarStudioError."""
    if asked.figures or asked.runs is not None or asked.with_data or asked.formats:
        raise VarStudioError(
            f"--{what} are numbers of one run: they go with no figure, --runs, --format and "
            "--with-data.",
            "Leave these out; the file's ending says .npz, .csv or .png.",
        )
    check_image(asked)
    if what == "maps" and (asked.image is not None or asked.view is not None):
        raise VarStudioError(
            "--maps writes all visual tokens, of every image and view.",
            "Leave out --image and --view; the arrays `cells` and the table say which is where.",
        )
    with open_session(asked.session) as opened:
        run = find_run(opened, asked.run)
        layers = axis("--layers", asked.layers, asked.layer, run.n_layers)
        settings = asked.settings(run)
        if what == "masks":
            if asked.token or asked.tokens or asked.heads or asked.head is not None:
                raise VarStudioError(
                    "Sinks are the same for every token that looks, and for every head.",
                    "Leave out --token and --head; choose --layer or --layers.",
                )
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
