"""Setup's settings of the redistribution: τ, ρ, p, the presets, and the rest behind "More".

What a sink and an image-centric head is, is said here for every intervention.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from PySide6.QtCore import QSignalBlocker
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QSpinBox, QToolButton, QWidget

from var_studio.gui.models.method_settings import MethodModel, ModelFacts
from var_studio.gui.widgets.dims_edit import DimsEdit
from var_studio.gui.widgets.quiet import QuietLabel
from var_studio.gui.widgets.section import Section
from var_studio.gui.widgets.settings_form import FloatControl, SettingsForm
from var_studio.gui.widgets.ticks import setting_text
from var_studio.recording.settings import RHO_PRESETS, AttentionIntervention

NO_REGION = "Paint a region on the image first: with the brush or the rectangle above the map."
_WORDS = {
    # "Selected" alone would be read as: the heads selected in the Heads panel.
    "heads": {"selected": "Image-centric", "all": "All"},
    "source": {"all": "All sinks", "visual": "Visual sinks", "text": "Text sinks"},
    "target": {
        "visual": "Visual non-sinks",
        "text": "Text",
        "both": "Both",
        "region": "The active region",
    },
    "convention": {"paper": "The paper's text", "released-code": "The released code"},
}


class MethodForm(SettingsForm):
    """The redistribution's fields; τ shows the model's default until it is set."""

    def shown_value(self, name: str) -> Any:
        return getattr(self._model.for_a_run_resolved, name)  # type: ignore[attr-defined]

    def follow(self) -> None:
        """The model's τ is a dash until there is a model."""
        super().follow()
        method: MethodModel = self._model  # type: ignore[assignment]
        tau = self.controls.get("tau")
        if isinstance(tau, FloatControl):
            with QSignalBlocker(tau.box):
                tau.box.set_unknown(method.stored.tau is None and not method.coming.known)

    def change(self, name: str, value: Any, *, drag: bool = False) -> None:
        """A region as target brings its tokens along."""
        if name == "target":
            self._model.set_target(value)  # type: ignore[attr-defined]
        else:
            super().change(name, value, drag=drag)


class MethodSection(Section):
    """Shows a MethodModel and changes it, every change through its undo stack."""

    def __init__(self, method: MethodModel) -> None:
        super().__init__("Redistribution (VAR)", "More")
        self._method = method
        bounds = {"tau": (0.0, method.coming.tau_max)}
        self.form = MethodForm(method, ["tau", "rho", "p"], bounds=bounds)
        self.tau_note = QuietLabel()
        self.add(self.form)
        self.add(self.tau_note)
        self.add(self._build_presets())
        self.dims_note = QuietLabel()
        self.add(self.dims_note)
        self.later(self._build_more)
        method.changed.connect(self._follow)
        self._follow()

    def _build_more(self) -> None:
        method = self._method
        self.more_form = MethodForm(
            method,
            [
                "mass_min",
                "convention",
                "heads",
                "source",
                "target",
                "first_layer",
                "last_layer",
            ],
            choice_words=_WORDS,
        )
        self.layers_note = name_last_layer(self.more_form, "all but the last")
        self.dims = DimsEdit()
        self.dims.changed.connect(self._dims_typed)
        dims_form = SettingsForm(method, [])
        dims_form.add_field("sink_dims", self.dims)
        self.dims.line.setObjectName("setting.sink_dims")
        self.add_more(dims_form)
        self.add_more(self.more_form)
        self.add_more(self.layers_note)
        self.region_note = QuietLabel()
        self.add_more(self.region_note)
        method.changed.connect(self._follow_more)
        self._follow_more()

    def _build_presets(self) -> QWidget:
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(4)
        label = QLabel("ρ for")
        label.setObjectName("quiet")
        line.addWidget(label)
        self.preset_buttons: dict[str, QToolButton] = {}
        for preset, rho in RHO_PRESETS.items():
            button = QToolButton()
            button.setText(preset.partition("-")[0].capitalize())
            button.setCheckable(True)
            button.setObjectName("preset")
            button.setToolTip(f"ρ = {rho:g}, the paper's value for {preset} tasks (Sec. 6.1)")
            button.setAccessibleName(f"ρ for {preset} tasks")
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
            button.clicked.connect(partial(self._preset_chosen, rho))
            line.addWidget(button)
            self.preset_buttons[preset] = button
        return row

    def _follow(self) -> None:
        method = self._method
        coming, shown = method.coming, method.shown
        # A run on screen of a larger model is read with these settings too.
        most = max(model.tau_max for model in (coming, shown) if model.known or model is coming)
        self.form.set_bounds("tau", 0.0, most)
        self.tau_note.say(_tau_words(coming, shown))
        self.dims_note.say(_dims_words(method))
        for preset, button in self.preset_buttons.items():
            button.setChecked(abs(method.current.rho - RHO_PRESETS[preset]) < 1e-9)

    def _follow_more(self) -> None:
        method = self._method
        self.more_form.refuse("target", "region", "" if method.region else NO_REGION)
        steered = method.stored.target == "region"
        if method.region_elsewhere:
            self.region_note.say(
                "The region belongs to another picture: on this one the budget goes to all visual "
                "non-sinks."
            )
        elif steered and not method.region:
            self.region_note.say(
                "No region is active on this picture: the tokens chosen last "
                f"({len(method.stored.region)}) still receive the budget."
            )
        else:
            self.region_note.say(
                f"{len(method.region)} visual tokens receive the budget." if steered else ""
            )
        limit_layers(self.more_form, self.layers_note, method.for_a_run, method.coming.n_layers)
        self.dims.set_model(method.coming)
        self.dims.set_dims(method.for_a_run.sink_dims)

    def _preset_chosen(self, rho: float) -> None:
        self._method.set(rho=rho)
        self._follow()  # a click on the button that is down already must not lift it

    def _dims_typed(self, dims: tuple[int, ...] | None) -> None:
        self._method.set(sink_dims=dims)


def _tau_words(coming: ModelFacts, shown: ModelFacts) -> str:
    """What τ can be for the model of the next run; of the run on screen where it is another's."""
    if not coming.known:
        return "Left alone, τ is the model's own; no model is loaded yet."
    said = (
        f"{coming.name or 'This model'}: its own τ is {setting_text(coming.tau_default)}; "
        f"φ is at most √D = {coming.tau_max:.1f}."
    )
    if shown.known and shown.key != coming.key:
        said += (
            f" The run on screen is of {shown.name or 'another model'}: √D = {shown.tau_max:.1f}, "
            f"τ {setting_text(shown.tau_default)}."
        )
    return said


def _dims_words(method: MethodModel) -> str:
    """Whose sink dimensions are used, where a person chose some: also while More is folded."""
    chosen = method.stored.sink_dims
    if not chosen:
        return ""
    named, coming = ", ".join(map(str, chosen)), method.coming
    who = coming.name or "this model"
    if method.dims_elsewhere(coming):
        own = ", ".join(map(str, coming.sink_dims)) or "none known"
        return f"Sink dimensions {named} were chosen for another model; {who} has its own: {own}."
    return f"Sink dimensions {named}: chosen here, for {who} alone."


def name_last_layer(form: SettingsForm, empty: str) -> QuietLabel:
    """Say in a form what an empty last layer means; `limit_layers` fills the line given back."""
    last = form.controls["last_layer"]
    assert isinstance(last, QSpinBox)
    last.setSpecialValueText(empty)
    return QuietLabel()


def limit_layers(
    form: SettingsForm, note: QuietLabel, settings: AttentionIntervention, n_layers: int
) -> None:
    """Bound a range of layers by those of the model (0: not known yet), and say which of them
    these settings change."""
    if not n_layers:
        note.say("")
        return
    from var_studio.recording.apply import active_layers

    for name in ("first_layer", "last_layer"):
        form.set_most(name, n_layers - 1)
    if max(settings.first_layer, settings.last_layer or 0) >= n_layers:
        note.say(f"This model has layers 0 to {n_layers - 1} only: choose among them.")
        return
    changed = active_layers(settings, n_layers).nonzero()[0]
    if not len(changed):
        note.say("No layer changes.")
    elif len(changed) == 1:
        note.say(f"Changes layer {changed[0]} of 0 to {n_layers - 1}.")
    else:
        note.say(f"Changes layers {changed[0]} to {changed[-1]} of 0 to {n_layers - 1}.")
