"""Files that hold what a panel shows as text, and settings that load back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError
from PySide6.QtWidgets import QFileDialog

from var_studio.errors import VarStudioError
from var_studio.gui import memory
from var_studio.recording.settings import Generation

if TYPE_CHECKING:
    from var_studio.gui.main_window import MainWindow
    from var_studio.gui.models.workspace import Workspace
    from var_studio.gui.panels.base import Panel


def csv_of(table: Mapping[str, Sequence[Any]]) -> str:
    """Columns of equal length as CSV, as figures write their tables."""
    from var_studio.figures.data import csv_text
    from var_studio.figures.spec import Figure

    return csv_text(Figure(rows=(), table={k: np.asarray(v) for k, v in table.items()}))


def ask_save(window: MainWindow, panel: Panel) -> None:
    """Ask for a place and write the panel's file there; tell the window."""
    try:
        text = panel.data_text()
        kind = panel.data_file.rpartition(".")[2]
        start = Path(memory.last_folder("figure")) / panel.data_file
        chosen, _ = QFileDialog.getSaveFileName(
            window, f"Save {panel.title}", str(start), f"{kind.upper()} (*.{kind})"
        )
        if not chosen:
            return
        from var_studio.figures.render import write_whole

        path = Path(chosen)
        path = path if path.suffix else path.with_suffix(f".{kind}")
        write_whole(path, text.encode("utf-8"))
    except VarStudioError as error:
        window.show_problem(error)
        return
    memory.remember_folder("figure", path)
    window.notices.show_notice("note", f"Saved {path.name}", f"to {path.parent}.")


def settings_text(workspace: Workspace) -> str:
    """Setup as JSON: what `load_settings` and the command line read back."""
    document = {
        "redistribution": workspace.method.stored.model_dump(mode="json"),
        "generation": workspace.generation.stored.model_dump(mode="json"),
        "interventions": workspace.interventions.to_json(),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def ask_load_settings(window: MainWindow, workspace: Workspace) -> None:
    """Ask for a file and take its settings."""
    chosen, _ = QFileDialog.getOpenFileName(
        window, "Load settings", memory.last_folder("figure"), "Settings (*.json)"
    )
    if not chosen:
        return
    try:
        load_settings(workspace, Path(chosen))
    except VarStudioError as error:
        window.show_problem(error)
        return
    memory.remember_folder("figure", chosen)
    window.status.say(f"The settings of {Path(chosen).name} hold now.")


def load_settings(workspace: Workspace, path: Path) -> None:
    """Take the settings of a file that Setup or a figure wrote; all of a kind, in one step of
    Undo. A figure's file has those of the redistribution alone. Raises FigureError."""
    from var_studio.figures.data import load_settings as redistribution_of

    method = redistribution_of(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    generation = document.get("generation")
    try:
        sampling = None if generation is None else Generation.model_validate(generation)
    except ValidationError as error:
        raise VarStudioError(
            f"{path} holds no sampling of VAR Studio.", "Choose a file that Setup wrote."
        ) from error
    stack = workspace.undo_stack
    stack.beginMacro("load of settings")
    workspace.method.set(**dict(method))
    if sampling is not None:
        workspace.generation.set(**dict(sampling))
    stack.endMacro()
    acting = document.get("interventions")
    if isinstance(acting, dict):
        workspace.interventions.restore(acting)
