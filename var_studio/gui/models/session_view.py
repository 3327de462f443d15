"""What the window shows, as a session to save; and a saved session's view, on screen again."""

from __future__ import annotations

import contextlib
import operator
from typing import TYPE_CHECKING, Any

from var_studio.gui.models.workspace import Workspace, facts_of
from var_studio.recording.settings import Generation, Redistribution

if TYPE_CHECKING:
    from var_studio.recording.session import Session


def session_of(workspace: Workspace) -> Session:
    """The window's session as it is now."""
    from var_studio.recording.content import FULL
    from var_studio.recording.session import Session

    return Session(
        workspace.runs,
        notes=workspace.notes,
        view=view_of(workspace),
        regions=workspace.regions.to_save(),
        path=workspace.session_path,
        content=workspace.session.content if workspace.session is not None else FULL,
    )


def chosen_words(workspace: Workspace) -> str:
    """The selected token as `Content.tokens` names it; without one, the whole answer."""
    run, position = workspace.run, workspace.selection.position
    generated = [] if run is None else run.generated_positions.tolist()
    if position is None or run is None:
        return "answer"
    return f"g{generated.index(position)}" if position in generated else str(position)


def view_of(workspace: Workspace) -> dict[str, Any]:
    """How the window shows the session, as plain JSON values."""
    selection = workspace.selection
    run = workspace.run
    return {
        "run": run.id if run is not None else None,
        "token": selection.position,
        "row_of": selection.row_of,
        "layer": selection.layer,
        "heads": sorted([layer, head] for layer, head in selection.heads),
        "cells": sorted(selection.cells),
        "method": workspace.method.stored.model_dump(mode="json"),
        "region_of": workspace.method.region_pictures,
        "sink_dims_of": workspace.method.sink_dims_models,
        "generation": workspace.generation.stored.model_dump(mode="json"),
        "interventions": workspace.interventions.to_json(),
        "view": workspace.view.to_json(),
    }


def restore_view(workspace: Workspace, view: dict[str, Any]) -> None:
    """Show a session as it was saved; what does not fit (another version's) is left out."""
    with workspace.history.unrecorded():
        _restore(workspace, view)


def _restore(workspace: Workspace, view: dict[str, Any]) -> None:
    selection = workspace.selection

    def method() -> None:
        pictures = [str(key) for key in view.get("region_of", ())]
        own = [facts_of(each).key for each in workspace.runs if each.id == view.get("run")]
        models = [str(key) for key in view.get("sink_dims_of", own)]
        workspace.method.restore(Redistribution.model_validate(view["method"]), pictures, models)

    def generation() -> None:
        workspace.generation.reset(Generation.model_validate(view["generation"]))

    def run() -> None:
        for each in workspace.runs:
            if each.id == view["run"]:
                workspace.look_at(each)

    def row_of() -> None:
        if view["row_of"] in ("query", "produced"):
            selection.set_row_of(view["row_of"])

    def heads() -> None:
        selection.select_heads(
            (int(layer), int(head))
            for layer, head in view.get("heads", ())
            if 0 <= layer < selection.n_layers and 0 <= head < selection.n_heads
        )

    for part in (
        method,
        generation,
        lambda: workspace.interventions.restore(dict(view.get("interventions", {}))),
        lambda: workspace.view.restore(dict(view.get("view", {}))),
        run,
        row_of,
        lambda: selection.set_layer(operator.index(view["layer"])),
        heads,
        lambda: selection.select_token(operator.index(view["token"])),
        lambda: selection.select_cells(int(k) for k in view.get("cells", ())),
    ):
        # A hand-edited or foreign view: the runs matter, this part of it does not.
        with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
            part()
