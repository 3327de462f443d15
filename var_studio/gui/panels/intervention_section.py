"""Setup's interventions: which of them act in a run, and the settings that each has of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from PySide6.QtCore import QEvent, QSignalBlocker, Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QMenu,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from var_studio.gui.models.interventions import PRESETS, Acting, InterventionsModel, Preset
from var_studio.gui.panels.method_section import NO_REGION, limit_layers, name_last_layer
from var_studio.gui.widgets.hover_line import HoverLine
from var_studio.gui.widgets.icons import icon
from var_studio.gui.widgets.quiet import QuietLabel
from var_studio.gui.widgets.section import Section
from var_studio.gui.widgets.settings_form import SettingsForm
from var_studio.recording.interventions import KINDS
from var_studio.recording.settings import AttentionIntervention

_TOKENS = {
    "visual-sinks": "Visual sinks",
    "random-visual": "As many random ones",
    "chosen": "The active region",
}
_HEADS = {
    "image-centric": "Image-centric",
    "random": "As many random ones",
    "complement": "All but image-centric",
}
_SHARED = "Sinks are those of τ, convention and dimensions above."
_SHARED_HEADS = "Sinks and image-centric heads are those of τ, ρ and visual mass above."


class KnockoutForm(SettingsForm):
    """The fields of a knockout; chosen tokens are those of the active region."""

    def __init__(self, interventions: InterventionsModel) -> None:
        self._interventions = interventions
        super().__init__(
            interventions.knockout,
            ["tokens", "seed", "first_layer", "last_layer"],
            choice_words={"tokens": _TOKENS},
        )

    def change(self, name: str, value: Any, *, drag: bool = False) -> None:
        """Chosen tokens bring their positions along."""
        if name == "tokens":
            self._interventions.set_tokens(value)
        else:
            super().change(name, value, drag=drag)


class InterventionRow(QWidget):
    """A box to tick, an arrow that unfolds the settings, why it cannot be ticked.

    `build` makes the settings, when they are first unfolded or by `make_folded`.
    """

    def __init__(
        self, kind: str, build: Callable[[], QWidget] | None = None, note: str = ""
    ) -> None:
        super().__init__()
        declared = Acting.model_fields[kind.replace("-", "_")]
        self.kind = kind
        self.box = QCheckBox(str(declared.title))
        self._tip = str(declared.description)
        self.box.setToolTip(self._tip)
        self.unfold = QToolButton()
        self.unfold.setObjectName("unfold")
        self.unfold.setAutoRaise(True)
        self.unfold.setCheckable(True)
        self.unfold.setAccessibleName(f"Settings of {declared.title}")
        self.unfold.setToolTip(f"Settings of {declared.title}")
        self.unfold.setVisible(build is not None)
        self.unfold.toggled.connect(self._fold)
        self.why = HoverLine("")
        self.why.set_quiet(True)
        self.why.setAccessibleName("Why it cannot be ticked")
        self._build, self._note = build, note
        self.settings = QWidget()
        self.settings.hide()
        head = QHBoxLayout()
        head.setContentsMargins(0, 0, 0, 0)
        head.addWidget(self.box)
        head.addWidget(self.why, 1)
        head.addWidget(self.unfold)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(head)
        column.addWidget(self.settings)
        self._show_arrow()

    def open(self) -> None:
        """Show the settings, where there are any."""
        self.unfold.setChecked(self._build is not None)

    def make_folded(self) -> None:
        """Make the settings, where that was not done yet."""
        if self._build is None or self.settings.layout() is not None:
            return
        inside = QVBoxLayout(self.settings)
        inside.setContentsMargins(0, 2, 0, 6)
        inside.setSpacing(6)
        inside.addWidget(self._build())
        if self._note:
            inside.addWidget(QuietLabel(self._note))

    def show_state(self, acts: bool, refusal: str, rivals: list[str]) -> None:
        """Ticked or not; why not, where it cannot be: what it goes not with, and whole as a
        tooltip."""
        with QSignalBlocker(self.box):
            self.box.setChecked(acts)
        self.box.setEnabled(acts or not refusal)
        self.box.setToolTip(f"{self._tip}\n{refusal}" if refusal else self._tip)
        named = f"not with {', '.join(rivals)}" if refusal and rivals else ""
        self.why.set_text(named, "not with either" if len(rivals) == 2 else "not with these")
        self.why.setToolTip(refusal)

    def _fold(self, open_: bool) -> None:
        self.make_folded()
        self.settings.setVisible(open_)
        self._show_arrow()

    def _show_arrow(self) -> None:
        self.unfold.setIcon(icon("less" if self.unfold.isChecked() else "more"))

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "unfold"):
            self._show_arrow()
        super().changeEvent(event)


class InterventionSection(Section):
    """Shows an InterventionsModel and changes it, every change through its undo stack."""

    def __init__(self, interventions: InterventionsModel) -> None:
        super().__init__("In a run")
        self._interventions = interventions
        self.presets = QToolButton()
        self.presets.setObjectName("menuButton")
        self.presets.setText("The paper's experiments  ▾")
        self.presets.setToolTip("Tick and set what one experiment of the paper does")
        self.presets.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.presets.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.presets.setAutoRaise(True)
        self.preset_menu = QMenu(self.presets)
        for preset in PRESETS:
            action = self.preset_menu.addAction(f"{preset.name} ({preset.source})")
            action.triggered.connect(partial(self._chosen, preset))
        self.presets.setMenu(self.preset_menu)
        self.rows = {
            "redistribution": InterventionRow("redistribution"),
            "knockout": InterventionRow("knockout", self._build_knockout, _SHARED),
            "head-ablation": InterventionRow("head-ablation", self._build_ablation, _SHARED_HEADS),
            "contrast": InterventionRow("contrast", self._build_contrast),
        }
        for kind, row in self.rows.items():
            row.box.toggled.connect(partial(self._ticked, kind))
            self.add(row)
        self.add(self.presets)
        interventions.changed.connect(self._follow)
        self._follow()

    def _follow(self) -> None:
        interventions = self._interventions
        for kind in KINDS:
            refusal, rivals = interventions.refusal(kind), interventions.rivals(kind)
            self.rows[kind].show_state(interventions.acts(kind), refusal, rivals)

    def _build_knockout(self) -> QWidget:
        self.knockout = KnockoutForm(self._interventions)
        self.knockout_layers = name_last_layer(self.knockout, "the last")
        self._interventions.changed.connect(self._follow_knockout)
        self._interventions.method.changed.connect(self._follow_knockout)
        self._follow_knockout()
        return _together(self.knockout, self.knockout_layers)

    def _follow_knockout(self) -> None:
        known = self._interventions.region_positions
        self.knockout.refuse("tokens", "chosen", "" if known else NO_REGION)
        stored = self._interventions.knockout.stored
        self._limit_layers("knockout", self.knockout, self.knockout_layers)
        self.knockout.controls["seed"].setEnabled(stored.tokens == "random-visual")

    def _build_ablation(self) -> QWidget:
        self.head_ablation = SettingsForm(
            self._interventions.head_ablation,
            ["heads", "seed", "first_layer", "last_layer"],
            choice_words={"heads": _HEADS},
        )
        self.ablation_layers = name_last_layer(self.head_ablation, "the last")
        self._interventions.changed.connect(self._follow_ablation)
        self._interventions.method.changed.connect(self._follow_ablation)
        self._follow_ablation()
        return _together(self.head_ablation, self.ablation_layers)

    def _follow_ablation(self) -> None:
        chosen = self._interventions.head_ablation.stored
        self._limit_layers("head-ablation", self.head_ablation, self.ablation_layers)
        self.head_ablation.controls["seed"].setEnabled(chosen.heads == "random")

    def _limit_layers(self, kind: str, form: SettingsForm, note: QuietLabel) -> None:
        settings = cast(AttentionIntervention, self._interventions.of_kind(kind))
        limit_layers(form, note, settings, self._interventions.method.coming.n_layers)

    def _build_contrast(self) -> QWidget:
        return SettingsForm(
            self._interventions.contrast,
            ["strength", "cutoff", "noise_step", "seed"],
            as_spin=["strength"],
        )

    def _ticked(self, kind: str, acts: bool) -> None:
        self._interventions.set_acting(kind, acts)
        if acts:
            self.rows[kind].open()

    def _chosen(self, preset: Preset) -> None:
        self._interventions.choose(preset)


def _together(*widgets: QWidget) -> QWidget:
    whole = QWidget()
    column = QVBoxLayout(whole)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(6)
    for widget in widgets:
        column.addWidget(widget)
    return whole
