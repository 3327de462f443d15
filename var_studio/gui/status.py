"""The status bar: what goes on, and on what the answer on screen was computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QProgressBar, QSizePolicy, QStatusBar, QWidget

from var_studio.analysis.parity import parity

if TYPE_CHECKING:
    from var_studio.gui.models.model_worker import ModelSummary
    from var_studio.recording.recording import Recording


class StatusBar(QStatusBar):
    """Left: a few words on what goes on. Right: model · device · kernel · dtype · parity · speed,
    read from the run's own provenance, so they are true also for a session of another machine."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizeGripEnabled(False)
        self.activity = QLabel()
        self.activity.setObjectName("status")
        self.activity.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.progress = QProgressBar()
        self.progress.setFixedSize(110, 8)
        self.progress.setTextVisible(False)
        self.progress.hide()
        self.facts = QLabel()
        self.facts.setObjectName("status")
        self.facts.setTextFormat(Qt.TextFormat.PlainText)
        self.facts.setAccessibleName("Model, device, kernel, precision, parity, speed")
        self.addWidget(self.activity, 1)
        self.addWidget(self.progress)
        self.addPermanentWidget(self.facts)

    def say(self, text: str) -> None:
        """Say what goes on."""
        self.activity.setText(text)

    def show_progress(self, done: float, total: float) -> None:
        """Show a bar; `total` 0: it moves without an end."""
        self.progress.setRange(0, 1000 if total else 0)
        self.progress.setValue(int(done / total * 1000) if total else 0)
        self.progress.show()

    def end_progress(self) -> None:
        """Take the bar away."""
        self.progress.setRange(0, 1000)  # an endless bar keeps a timer running
        self.progress.hide()

    def show_facts(self, run: Recording | None, model: ModelSummary | None) -> None:
        """Show what the run on screen was made with; before there is one, what is loaded."""
        if run is not None:
            facts, tip = facts_of_run(run.provenance)
        elif model is not None:
            facts, tip = [model.name, model.device, model.dtype], ""
        else:
            facts, tip = [], ""
        self.facts.setText("  ·  ".join(facts))
        self.facts.setToolTip(tip)


def facts_of_run(provenance: dict[str, Any]) -> tuple[list[str], str]:
    """Short facts for the bar and their explanation. Facts that a run does not state are left
    out rather than guessed."""
    facts = [
        str(provenance[key])
        for key in ("model", "device", "kernel", "dtype")
        if provenance.get(key) not in (None, "")
    ]
    tip = [
        f"{key}: {provenance[key]}"
        for key in ("model", "checkpoint", "revision", "device", "kernel", "dtype", "seed")
        if provenance.get(key) not in (None, "")
    ]
    found = parity(provenance)
    if found is not None:
        facts.append(found[0])
        tip.append(f"parity: {found[1]}")
    speed = provenance.get("tokens_per_second")
    if isinstance(speed, int | float) and speed > 0:
        facts.append(f"{speed:.0f} tokens/s")
    return facts, "\n".join(tip)
