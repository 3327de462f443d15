"""Which of several second answers is shown, told apart by their settings; how it differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QWidget

from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.ticks import setting_text, signed_text
from var_studio.recording.interventions import NAMES, without_effect
from var_studio.recording.settings import Redistribution

if TYPE_CHECKING:
    from var_studio.analysis.compare import Comparison
    from var_studio.recording.recording import Recording

_TIP = "The second answers to this question, by their settings."
_CHARACTERS = 22
"""Of the settings, those that are always seen; the list that opens has more."""
_WIDEST_LIST = 700


def settings_text(settings: Redistribution, tau_default: float) -> str:
    """τ, ρ, p, and what else is not as the method has it: "τ 6.5 · ρ 0.8 · p 0.6 · all heads"."""
    usual = Redistribution()
    tau = tau_default if settings.tau is None else settings.tau
    parts = [f"τ {setting_text(tau)}", f"ρ {settings.rho:g}", f"p {settings.p:g}"]
    if settings.mass_min != usual.mass_min:
        parts.append(f"mass ≥ {settings.mass_min:g}")
    if settings.heads != usual.heads:
        parts.append("all heads")
    if settings.source != usual.source:
        parts.append(f"from {settings.source} sinks")
    if settings.target != usual.target:
        words = {"text": "to text", "both": "to image and text", "region": "to a region"}
        parts.append(words[settings.target])
    if settings.convention != usual.convention:
        parts.append("released code")
    if (settings.first_layer, settings.last_layer) != (usual.first_layer, usual.last_layer):
        last = "last but one" if settings.last_layer is None else f"{settings.last_layer}"
        parts.append(f"layers {settings.first_layer} to {last}")
    if settings.sink_dims is not None:
        parts.append(f"dimensions {', '.join(str(dim) for dim in settings.sink_dims)}")
    return " · ".join(parts)


def interventions_text(run: Recording) -> str:
    """What a run was made with, in words; a redistribution by its settings alone."""
    from var_studio.figures.words import interventions_line

    words = [
        settings_text(each, run.tau_default)
        if isinstance(each, Redistribution)
        else interventions_line([each])
        for each in run.interventions
    ]
    return "; ".join([*words, "teacher-forced"] if run.teacher is not None else words)


def how_they_differ(
    compared: Comparison, baseline: Recording, other: Recording, growing: Recording | None = None
) -> str:
    """Where the two answers part, or why they cannot; the scores of a forced one. `growing`: the
    run that is being made."""
    from var_studio.analysis.scores import score

    first = compared.first_divergence
    same_as_far = first is None and compared.n_other <= compared.n_baseline
    idle = bool(other.provenance.get("without_effect"))
    if idle and first is None and baseline.finished and other.finished:
        named = [NAMES[each.kind] for each in other.interventions if without_effect([each])]
        return (
            f"Nothing was changed by {' and '.join(named)}: no sink dimension of the model is "
            "known. Both answers are the same."
        )
    if other.teacher == baseline.id and same_as_far:
        scores = score(baseline.tokens, other.tokens)
        return (
            "The baseline's own answer, scored: its log-probability changes by "
            f"{signed_text(scores.total_change)}, {signed_text(scores.mean_change)} a token "
            "(nats)."
        )
    if growing is not None and growing in (baseline, other):
        return f"The {'second' if growing is other else 'first'} answer is being written."
    if compared.undecided and not compared.identical:
        return "One answer was cut short; up to there both are the same."
    if first is None:
        return "Both answers are the same, token by token."
    return f"The answers part at token {first + 1} of the answer."


class AnswerVariants(QWidget):
    """A sentence on the second answer; a list beside it once there are several to choose from."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = QComboBox()
        # Settings can be a long line, and must not keep the window wide.
        self.choice.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.choice.setMinimumContentsLength(_CHARACTERS)
        self.choice.setToolTip(_TIP)
        self.choice.setAccessibleName("Settings of the second answer")
        self.sentence = HoverLine("")
        self.sentence.setAccessibleName("How the two answers differ")
        self.sentence.set_quiet(True)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self.choice)
        row.addWidget(self.sentence, 1)
        self._runs: list[Recording] = []

    def show_runs(self, runs: list[Recording], shown: Recording | None) -> None:
        """List these runs, all made with interventions; `shown` is the one on screen."""
        self._runs = runs
        with QSignalBlocker(self.choice):
            self.choice.clear()
            for run in runs:
                self.choice.addItem(interventions_text(run))
                text = self.choice.itemText(self.choice.count() - 1)
                self.choice.setItemData(self.choice.count() - 1, text, Qt.ItemDataRole.ToolTipRole)
                if run is shown:
                    self.choice.setCurrentIndex(self.choice.count() - 1)
        self.choice.setToolTip(f"{_TIP}\n{self.choice.currentText()}")
        listed = self.choice.view()
        listed.setMinimumWidth(min(listed.sizeHintForColumn(0) + 24, _WIDEST_LIST))
        self.choice.setVisible(len(runs) > 1)

    def run_at(self, number: int) -> Recording:
        """The run of that entry."""
        return self._runs[number]

    def say(self, text: str) -> None:
        """Say how the two answers differ, after the settings where no list shows them."""
        settings = self.choice.currentText() if len(self._runs) == 1 else ""
        self.sentence.set_text(f"{settings}: {text[0].lower()}{text[1:]}" if settings else text)

    def text(self) -> str:
        """What is said."""
        return self.sentence.text()
