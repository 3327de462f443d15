"""What a person sees of a session at the window, as plain JSON: to be compared after a reopening.

Run as a program it opens a session in a window of its own, where torch and transformers cannot be
imported, looks at every panel, and prints what it sees.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from var_studio.gui.main_window import MainWindow

BLOCKED = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "huggingface_hub")


def state_of(window: MainWindow) -> dict[str, Any]:
    """Runs, selection, settings, regions, the words and numbers on screen."""
    workspace, selection = window.workspace, window.workspace.selection
    image, transcript = window.area.panel("image"), window.transcript
    maps = {
        moment: view._values.round(6).tolist()
        for moment, view in image.views.items()  # type: ignore[attr-defined]
        if view.isVisible()
    }
    reading = workspace.reading
    assert reading is not None
    return {
        "runs": [[run.id, run.text, len(run.query_positions)] for run in workspace.runs],
        "looked at": workspace.run.id if workspace.run else None,
        "paired": workspace.paired.id if workspace.paired else None,
        "selection": [selection.position, selection.layer, selection.row_of],
        "heads": sorted(map(list, selection.heads)),
        "cells": sorted(selection.cells),
        "method": workspace.method.stored.model_dump(mode="json"),
        "view": workspace.view.to_json(),
        "regions": [[r.name, list(r.tokens)] for r in workspace.regions.current],
        "active region": workspace.regions.active.name if workspace.regions.active else None,
        "question": workspace.question.prompt,
        "pictures": [picture.sha256 for picture in workspace.question.images],
        "earlier": [[turn.question, turn.answer] for turn in workspace.question.history],
        "words": [
            [entry.text for entry in strip.tokens.entries]
            for strip in (transcript.question, transcript.answer, transcript.second)
        ],
        "maps": maps,
        "note": image.note.text(),  # type: ignore[attr-defined]
        "sinks": reading.n_visual_sinks.tolist(),
        "image-centric": reading.image_centric.tolist(),
    }


class _Blocker:
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])


def _open_and_tell(path: Path) -> dict[str, Any]:
    from PySide6 import QtTest, QtWidgets

    from var_studio.gui.main_window import MainWindow

    app = QtWidgets.QApplication([])
    app.setStyle("Fusion")
    window = MainWindow()
    window.resize(1400, 900)
    window.show()
    QtTest.QTest.qWait(20)
    opened = window.files.open(path)
    window.start()  # as the program does; the demo cannot be loaded here
    for _ in range(600):
        QtTest.QTest.qWait(10)
        if window.controller.idle and all(dock.has_panel for dock in window.area.docks.values()):
            break
    told = {"opened": opened, "state": state_of(window), "panels": [], "notices": []}
    for name, dock in window.area.docks.items():
        window.area.reveal(name)
        QtTest.QTest.qWait(5)
        if dock.panel._stack.currentWidget() is dock.panel.body:
            told["panels"].append(name)
    window.files._workspace.selection.step_token(1)
    QtTest.QTest.qWait(20)
    told["notices"] = [notice.text() for notice in window.notices.notices if notice.isVisible()]
    told["imported"] = sorted(name for name in BLOCKED if name in sys.modules)
    window.workspace.modified = False
    window.close()
    return told


if __name__ == "__main__":
    sys.meta_path.insert(0, _Blocker())  # type: ignore[arg-type]
    print("STATE " + json.dumps(_open_and_tell(Path(sys.argv[1]))))
