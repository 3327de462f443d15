"""A saved session where torch and transformers are not installed: every figure, every panel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.synthetic import make_run
from var_studio.recording.session import save_session
from var_studio.recording.settings import Intervention, Knockout, Redistribution

ROOT = Path(__file__).parents[2]
WITHOUT = """
import sys
for name in ("torch", "torchvision", "transformers", "tokenizers", "accelerate", "safetensors"):
    sys.modules[name] = None
"""
FIGURES = """
from pathlib import Path
from var_studio.cli import main
from var_studio.figures.build import COMPOSED, FIGURES
from var_studio.figures.two_answers import ANSWERS
session, out = sys.argv[1:]
for name in (*FIGURES, *COMPOSED, ANSWERS, "map"):
    path = Path(out) / f"{name}.svg"
    arguments = ["export", session, "--figure", name, "--out", str(path), "--with-data"]
    if name in (ANSWERS, "before_after") or path.exists():
        arguments += ["--compare-with", "VAR", "--overwrite"]
    assert main(arguments) == 0, name
    assert path.stat().st_size > 2000, name
for command in ("info", "compare"):
    assert main([command, session]) == 0, command
"""
PANELS = """
from pathlib import Path
from PySide6.QtWidgets import QApplication
app = QApplication([])
from var_studio.errors import VarStudioError
from var_studio.gui import export
from var_studio.gui.appearance import Appearance
from var_studio.gui.main_window import MainWindow
errors = []
sys.excepthook = lambda *error: (errors.append(error), sys.__excepthook__(*error))
app.setStyle("Fusion")
appearance = Appearance()
window = MainWindow(appearance)
window.resize(1500, 950)
window.show()
app.processEvents()
assert window.files.open(Path(sys.argv[1]))
window.start(model=None)
selection = window.workspace.selection
shown = []
for position in selection.positions[:: max(1, len(selection.positions) // 2)]:
    selection.select_token(position)
    selection.select_heads([(2, 1), (3, 0)])
    selection.select_cells([3, 4])
    for view in ("before", "after", "difference", "all"):
        window.workspace.view.set(shown=view)
        app.processEvents()
    for name in window.area.docks:
        window.area.reveal(name)
        panel = window.area.panel(name)
        for _ in range(3):
            app.processEvents()
        assert panel.isVisible() and not panel.grab().isNull(), name
        shown.append(name)
        try:
            panel.data_text()
        except (NotImplementedError, VarStudioError):
            pass
for number, (name, _) in enumerate(export.FIGURES):
    dialog = export.ExportDialog(name, window)
    dialog.file.setText(str(Path(sys.argv[2]) / f"window-{number}"))
    written = export.export_now(window, window.workspace, dialog)
    assert written and all(path.stat().st_size for path in written), name
    dialog.close()
said = [notice.text() for notice in window.notices.notices if "Exported" not in notice.text()]
assert errors == [] and said == [], (errors, said)
assert len(set(shown)) == len(window.area.docks) > 10
window.workspace.modified = False
window.close()
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    shape = {"layers": 5, "heads": 4, "rows": 8, "cols": 8, "queries": 16, "seed": 1}
    baseline = make_run(folder / "0", **shape)  # type: ignore[arg-type]
    made: list[tuple[str, Intervention, str | None]] = [("VAR", Redistribution(), None)]
    for tokens in ("visual-sinks", "random-visual"):
        made.append((f"{tokens} hidden", Knockout(tokens=tokens), baseline.id))  # type: ignore[arg-type]
    runs = [baseline]
    for name, intervention, teacher in made:
        more = {"name": name, "intervention": intervention, "teacher": teacher, **shape}
        runs.append(make_run(folder / name, **more))  # type: ignore[arg-type]
    return save_session(folder / "s.vars", runs)


@pytest.mark.parametrize("script", [FIGURES, PANELS], ids=["figures", "panels"])
def test_all_of_it(session: Path, tmp_path: Path, script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + script, str(session), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "VAR_STUDIO_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
