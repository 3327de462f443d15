"""The status bar: what goes on, and on what the answer on screen was computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QElapsedTimer, Qt
from PySide6.QtWidgets import QLabel, QProgressBar, QSizePolicy, QStatusBar, QToolButton, QWidget

from var_studio.analysis.parity import parity
from var_studio.gui.widgets.ticks import number_text

if TYPE_CHECKING:
    from var_studio.gui.models.model_worker import ModelSummary
    from var_studio.recording.recording import Recording


class StatusBar(QStatusBar):
    """Left: a few words on what goes on. Right: model · device · kernel · dtype · parity · speed,
    read from the run's own provenance, so they are true also for a session of another machine;
    and the memory that this program holds now."""

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
        self.stop = QToolButton()
        self.stop.setText("Stop")
        self.stop.setAccessibleName("Stop what goes on")
        self.stop.setToolTip("Stop saving; the file that was there stays as it was")
        self.stop.hide()
        self.facts = QLabel()
        self.facts.setObjectName("status")
        self.facts.setTextFormat(Qt.TextFormat.PlainText)
        self.facts.setAccessibleName("Model, device, kernel, precision, parity, speed")
        self.memory = QLabel()
        self.memory.setObjectName("status")
        self.memory.setAccessibleName("Memory")
        self._measured = QElapsedTimer()
        self.addWidget(self.activity, 1)
        self.addWidget(self.progress)
        self.addWidget(self.stop)
        self.addPermanentWidget(self.facts)
        self.addPermanentWidget(self.memory)

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
        self.stop.hide()

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

    def show_memory(self, device: str = "", *, often: bool = False) -> None:
        """Measure and show the memory this program holds: on `device` if it has its own, and RAM.
        With `often` (a run grows) once a second at most."""
        if often and self._measured.isValid() and self._measured.elapsed() < 1000:
            return
        self._measured.start()
        from var_studio.models.memory_use import device_memory_in_use, ram_in_use

        ram, on_device = _in_words(ram_in_use()), device_memory_in_use(device)
        told = f"{ram} RAM"
        tip = f"This program holds {ram} of RAM now, its libraries and the model included."
        if on_device is not None:
            told = f"{_in_words(on_device)} {device.partition(':')[0]}  ·  {told}"
            tip = f"PyTorch holds {_in_words(on_device)} on {device} now. {tip}"
        self.memory.setText(told)
        self.memory.setToolTip(tip)


def _in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


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
        facts.append(f"{number_text(speed, 2)} tokens/s")
    return facts, "\n".join(tip)
