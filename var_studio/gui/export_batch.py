"""A figure of each of several words, each in a file of its own, drawn beside the window."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from var_studio.errors import VarStudioError
from var_studio.figures.names import BY_KEY
from var_studio.figures.page import ignored_line
from var_studio.gui import memory

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.figures.batch import Job, Outcome
    from var_studio.figures.build import MapOptions
    from var_studio.gui.export import ExportDialog
    from var_studio.gui.main_window import MainWindow
    from var_studio.gui.models.workspace import Workspace
    from var_studio.recording.recording import Recording


def start_export(
    window: MainWindow,
    workspace: Workspace,
    dialog: ExportDialog,
    options: MapOptions | None,
    second: Recording | None,
) -> bool:
    """Draw the figure of the dialog for each of its words; the window tells how far it is, and what
    was drawn. `options` and `second` as for the one on screen. False where nothing was begun.

    Raises VarStudioError for words that are not there, and for files that are.
    """
    from var_studio.figures.batch import export_batch, planned_files

    reading = workspace.reading
    folder = dialog.folder()
    if reading is None or folder is None:
        return False
    jobs = _planned(workspace, reading, dialog, folder, options, second)
    dpi, with_data = dialog.dpi.value(), dialog.with_data.isChecked()
    there = [path for path in planned_files(jobs, folder, with_data) if path.exists()]
    if there and not dialog.replace.isChecked():
        raise VarStudioError(
            f"{there[0].name} and perhaps more exist in {folder}.",
            "Choose another folder, or tick Replace.",
        )

    style = dialog.style_asked()

    def work(progress: Callable[[int, int], None]) -> tuple[list[Outcome], str]:
        ignored = ignored_line(style)  # raises for a file that is no style, before any is drawn
        outcomes = export_batch(
            jobs,
            folder,
            dpi=dpi,
            with_data=with_data,
            progress=lambda done, total, _: progress(done, total),
        )
        return outcomes, ignored

    def tell(done: tuple[list[Outcome], str]) -> None:
        outcomes, ignored = done
        if any(each.state == "written" for each in outcomes):
            memory.remember_figure_style(style)
        _tell(window, folder, outcomes, ignored)

    return window.takeaway.start("Exporting figures", work, tell)


def _planned(
    workspace: Workspace,
    reading: Reading,
    dialog: ExportDialog,
    folder: Path,
    options: MapOptions | None,
    second: Recording | None,
) -> list[Job]:
    from var_studio.figures.batch import plan, tokens_named

    name = BY_KEY[dialog.figure.currentData()]
    focus, run = reading.focus, reading.run
    choice: dict[str, Any] = {
        "row_of": workspace.selection.row_of,
        "settings": reading.settings,
        "aggregate": focus.aggregate,
        "width": dialog.width_asked(),
        "style": dialog.style_asked(),
    }
    if name.pictures and options is not None:
        if workspace.view.current.scale != "shared":
            # Limits made for the one map on screen are none for others.
            options = replace(options, limits=None, difference_limits=None, scale_name="")
        choice["options"] = options
    if name.key == "map":
        choice["compare_with"] = second
    layers: Iterable[int | None] = [focus.layer]
    heads: Iterable[int | None] = [None]
    if len(focus.heads) == 1 and focus.heads[0][0] == focus.layer:
        heads = [focus.heads[0][1]]
    else:
        layers = [None]
        choice |= {"layer": focus.layer, "heads": focus.heads or "all"}
    tokens = tokens_named(run, dialog.named())
    return plan(
        [name.key],
        [(run.name, run)],
        folder,
        tokens=lambda _: tokens,
        layers=lambda _: layers,
        heads=lambda _: heads,
        formats=[path.suffix.lstrip(".") for path in dialog.paths()],
        choice=lambda *_: choice,
    )


def _tell(window: MainWindow, folder: Path, outcomes: list[Outcome], ignored: str) -> None:
    """What was drawn and what was not."""
    drawn = [each for each in outcomes if each.state == "written"]
    failed = [each for each in outcomes if each.state == "failed"]
    without = len(outcomes) - len(drawn) - len(failed)
    if drawn:
        memory.remember_folder("figure", drawn[0].files[0])
        said = "1 word" if len(drawn) == 1 else f"{len(drawn)} words"
        told = [f"to {folder}.", f"{without} more without a row." if without else "", ignored]
        window.notices.show_notice(
            "note", f"Exported figures of {said}", " ".join(filter(None, told))
        )
    if failed or not drawn:
        first = (failed or outcomes)[0]
        window.show_problem(
            VarStudioError(
                f"{len(outcomes) - len(drawn)} of {len(outcomes)} figures were not drawn.",
                f"{first.why} index.csv says it of each.",
            )
        )
