"""Files that hold what a panel shows as text, and settings that load back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from pydantic import ValidationError
from PySide6.QtWidgets import QFileDialog

from var_studio.errors import VarStudioError
from var_studio.gui import memory
from var_studio.recording.settings import Generation, Redistribution

if TYPE_CHECKING:
    from var_studio.figures.drawing import Drawing
    from var_studio.gui.main_window import MainWindow
    from var_studio.gui.models.workspace import Workspace
    from var_studio.gui.panels.base import Panel
    from var_studio.gui.panels.image import ImagePanel


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
        drawing = load_settings(workspace, Path(chosen))
    except VarStudioError as error:
        window.show_problem(error)
        return
    if drawing is not None and drawing.options is not None:
        image = cast("ImagePanel", window.area.panel("image"))
        if workspace.run is not None and workspace.run.id == drawing.run:
            image.show_part(drawing.options.image, drawing.options.view)
    memory.remember_folder("figure", chosen)
    window.status.say(f"The settings of {Path(chosen).name} hold now.")


def load_settings(workspace: Workspace, path: Path) -> Drawing | None:
    """Take the settings of a file that Setup or a figure wrote, in one step of Undo.

    A figure's file also brings back how its map was shown and, where its run is open here, the
    word, layer, heads and runs that it was drawn of; it is returned. Raises FigureError.
    """
    from var_studio.figures.data import NoMethodError
    from var_studio.figures.data import load_settings as redistribution_of
    from var_studio.figures.drawing import read_drawing

    method: Redistribution | None = None
    with contextlib.suppress(NoMethodError):
        method = redistribution_of(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    drawing = read_drawing(document)
    generation = document.get("generation")
    try:
        sampling = None if generation is None else Generation.model_validate(generation)
    except ValidationError as error:
        raise VarStudioError(
            f"{path} holds no sampling of VAR Studio.", "Choose a file that Setup wrote."
        ) from error
    stack = workspace.undo_stack
    stack.beginMacro("load of settings")
    if drawing is not None:
        look_again(workspace, drawing)
    if method is not None:
        workspace.method.set(**dict(method))
    if sampling is not None:
        workspace.generation.set(**dict(sampling))
    here = drawing is not None and workspace.run is not None and workspace.run.id == drawing.run
    if method is not None and here:
        workspace.method.set_dims_of_shown(method.sink_dims)
        _take_region(workspace, method)
    stack.endMacro()
    acting = document.get("interventions")
    if isinstance(acting, dict):
        workspace.interventions.restore(acting)
    return drawing


def look_again(workspace: Workspace, drawing: Drawing) -> None:
    """Show what a figure was drawn of, as far as it is open here."""
    from var_studio.gui.panels.image_figure import SCALE_NAMES

    runs = {run.id: run for run in workspace.runs}
    run = runs.get(drawing.run)
    other = None if drawing.compare_with is None else runs.get(drawing.compare_with)
    changes: dict[str, Any] = {"aggregate": drawing.aggregate}
    if drawing.options is not None:
        shown = drawing.options
        scales = {name: scale for scale, name in SCALE_NAMES.items()}
        changes |= {
            "quantity": shown.quantity,
            "opacity": shown.opacity,
            "smooth": shown.smooth,
            "robust": shown.robust,
            "gamma": shown.gamma,
            "sinks_boxed": shown.sinks_boxed,
            "hide_sinks": shown.bare_sinks,
            "scale": scales.get(shown.scale_name, "map"),
            "colour_map": shown.colour_map,
            "difference_map": shown.difference_map,
        }
    if drawing.figure == "map":
        changes["compare"] = "run" if drawing.compare_with is not None else "local"
    workspace.view.restore(changes)
    if run is None:
        return
    with workspace.history.together():
        # The one with interventions first: the pair on screen is its own then.
        for each in sorted((r for r in (run, other) if r), key=lambda r: not r.interventions):
            workspace.look_at(each)
        workspace.look_at(run)
        if drawing.token is not None and drawing.layer is not None:
            selection = workspace.selection
            selection.set_row_of(drawing.row_of)
            heads = frozenset(drawing.heads)
            selection.restore(drawing.token, drawing.row_of, drawing.layer, heads, selection.cells)


def _take_region(workspace: Workspace, method: Redistribution) -> None:
    """The region that the budget goes to becomes the one that is painted on; else that one would
    take its place."""
    if method.target != "region" or workspace.method.current.region == method.region:
        return
    regions = workspace.regions
    alike = (r.name for r in regions.current if set(r.tokens) == set(method.region))
    name = next(alike, None)
    if name is not None:
        regions.activate(name)
    else:
        regions.add(method.region)
