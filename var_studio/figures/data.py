"""What a figure shows, beside it: arrays (NPZ), a table (CSV), settings (JSON), a script."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from var_studio.figures.render import FigureError, write_whole
from var_studio.figures.spec import Figure
from var_studio.recording.settings import Redistribution

DATA_SUFFIXES = (".npz", ".csv", ".json", ".py")
"""What `save_beside` writes."""


class NoMethodError(FigureError):
    """The settings file of a figure that none of the method's settings made."""


def save_beside(figure: Figure, path: str | os.PathLike[str], script: str) -> list[Path]:
    """Write FIGURE.npz, .csv, .json and the script FIGURE.py next to the figure `path`; return
    their paths.

    The same figure gives the same bytes. Raises FigureError where the disk refuses.
    """
    path = Path(path)
    return [
        write_whole(path.with_suffix(".npz"), npz_bytes(figure)),
        write_whole(path.with_suffix(".csv"), csv_text(figure).encode("utf-8")),
        write_whole(path.with_suffix(".json"), settings_text(figure).encode("utf-8")),
        write_whole(path.with_suffix(".py"), script.encode("utf-8")),
    ]


def npz_bytes(figure: Figure) -> bytes:
    """All arrays of the figure, and its settings as the 0-d string `settings`; no pickle."""
    buffer = io.BytesIO()
    arrays: dict[str, npt.NDArray[Any]] = dict(figure.arrays)
    arrays["settings"] = np.array(settings_text(figure))
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def csv_text(figure: Figure) -> str:
    """The figure's table: a heading, then a line for each token, bin or head. NaN is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(figure.table)
    for row in zip(*(np.asarray(column).tolist() for column in figure.table.values()), strict=True):
        writer.writerow([_plain(value) for value in row])
    return buffer.getvalue()


def settings_text(figure: Figure) -> str:
    """The figure's metadata as JSON; `load_settings` and `drawing.read_drawing` read it back."""
    return json.dumps(dict(figure.metadata), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def load_settings(path: str | os.PathLike[str]) -> Redistribution:
    """Read the settings of a figure's JSON (or of a bare Redistribution): those it was drawn with,
    of a run shown as it was made those of the run. Raises FigureError, of a figure without any
    NoMethodError."""
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        drawing = document.get("drawing") if isinstance(document, dict) else None
        if isinstance(drawing, dict) and drawing.get("settings") is not None:
            document = {"redistribution": drawing["settings"]}
        if isinstance(drawing, dict) and "redistribution" not in document:
            raise NoMethodError(
                f"{path} is of a figure in which no redistribution plays a part.",
                "Choose the .json file of another figure.",
            )
        if isinstance(document, dict) and "redistribution" in document:
            document = document["redistribution"]
        return Redistribution.model_validate(document)
    except OSError as error:
        raise FigureError(
            f"{path} cannot be read: {error.strerror or error}.", "Choose another file."
        ) from error
    except (ValueError, RecursionError) as error:
        where = ""
        if isinstance(error, ValidationError):
            where = f" ({'.'.join(map(str, error.errors()[0]['loc'])) or 'not an object'})"
        raise FigureError(
            f"{path} holds no settings of VAR Studio{where}.",
            "Choose the .json file that was written beside a figure.",
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        # Nine digits give every float32 back.
        return "" if np.isnan(value) else f"{value:.9g}"
    return value
