"""Controls made from a settings declaration: title, bounds and help are written there, once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QWidget,
)

from var_studio.gui.models.method_settings import SettingsModel
from var_studio.gui.widgets.ticks import setting_text

_STEPS = 1000


class SettingBox(QDoubleSpinBox):
    """A number with three decimals, of which a third that is 0 is not written."""

    def __init__(self) -> None:
        super().__init__()
        self._unknown = False
        self.setDecimals(3)

    def textFromValue(self, value: float) -> str:
        """As the panels write it."""
        return "–" if self._unknown else setting_text(value, 2)

    def set_unknown(self, unknown: bool) -> None:
        """A dash in place of a value that nobody knows yet."""
        if unknown != self._unknown:
            self._unknown = unknown
            self.setDecimals(self.decimals())  # writes the text anew


class FloatControl(QWidget):
    """A slider with a number beside it. `changed(value, dragging)`, `released()`."""

    changed = Signal(float, bool)
    released = Signal()

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self._low, self._high = low, high
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, _STEPS)
        self.slider.setSingleStep(_STEPS // 100)
        self.slider.setPageStep(_STEPS // 10)
        self.slider.setMinimumWidth(70)
        self.box = SettingBox()
        self.box.setRange(low, high)
        self.box.setSingleStep((high - low) / 20 if high - low <= 2 else 0.5)
        self.box.setKeyboardTracking(False)
        self.box.setFixedWidth(68)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self.slider, 1)
        row.addWidget(self.box)
        self.setFocusProxy(self.box)
        self.slider.valueChanged.connect(self._slid)
        self.slider.sliderReleased.connect(self.released)
        self.box.valueChanged.connect(self._typed)

    def set_bounds(self, low: float, high: float) -> None:
        """Change the bounds; the value is kept where it fits."""
        if (low, high) != (self._low, self._high):
            self._low, self._high = low, high
            with QSignalBlocker(self.box):
                self.box.setRange(low, high)
            self.set_value(self.box.value())

    def set_value(self, value: float) -> None:
        """Show a value without telling anyone."""
        with QSignalBlocker(self.slider), QSignalBlocker(self.box):
            self.box.setValue(value)
            span = self._high - self._low
            value = self.box.value()  # within the bounds
            self.slider.setValue(round((value - self._low) / span * _STEPS) if span else 0)

    def value(self) -> float:
        return self.box.value()

    def _slid(self, step: int) -> None:
        value = self._low + (self._high - self._low) * step / _STEPS
        with QSignalBlocker(self.box):
            self.box.setValue(round(value, 2))
        self.changed.emit(self.box.value(), self.slider.isSliderDown())

    def _typed(self, value: float) -> None:
        self.set_value(value)
        self.changed.emit(value, False)


class SettingsForm(QWidget):
    """Rows for some fields of a SettingsModel, in the order given. Follows undo and redo.

    A field is a slider (bounded float), a number, or a list of choices, as its declaration says.
    `bounds` overrides the declared bounds of a float; `as_spin` names floats shown without slider;
    `choice_words` says choices in other words than their keys; what has none is not offered.
    """

    def __init__(
        self,
        model: SettingsModel[Any],
        fields: Sequence[str],
        *,
        bounds: dict[str, tuple[float, float]] | None = None,
        as_spin: Sequence[str] = (),
        choice_words: dict[str, dict[str, str]] | None = None,
        label_width: int = 108,
    ) -> None:
        super().__init__()
        self._model = model
        self._words = choice_words or {}
        self._label_width = label_width
        self._bounds = bounds or {}
        self._as_spin = tuple(as_spin)
        self.controls: dict[str, QWidget] = {}
        self.form = QFormLayout(self)
        self.form.setContentsMargins(0, 0, 0, 0)
        self.form.setHorizontalSpacing(10)
        self.form.setVerticalSpacing(6)
        self.form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        declared = type(model.stored).model_fields
        for name in fields:
            self.controls[name] = self._control(name, declared[name])
            self.add_field(name, self.controls[name])
        model.changed.connect(self.follow)
        self.follow()

    def add_field(self, name: str, control: QWidget) -> None:
        """Add a row with the declared title and help. A control given from outside follows the
        model by itself."""
        declared = type(self._model.stored).model_fields[name]
        title = str(declared.title or name)
        control.setObjectName(f"setting.{name}")
        control.setToolTip(str(declared.description or ""))
        for child in (control, *control.findChildren(QWidget)):
            child.setToolTip(control.toolTip())
            if isinstance(child, QSlider | QAbstractSpinBox | QComboBox | QLineEdit):
                child.setAccessibleName(title)
        self.form.addRow(title, control)
        label = self.form.labelForField(control)
        label.setToolTip(control.toolTip())
        label.setMinimumWidth(self._label_width)

    def set_bounds(self, name: str, low: float, high: float) -> None:
        """New bounds of a float field (τ ≤ √D when the model changes)."""
        control = self.controls[name]
        assert isinstance(control, FloatControl)
        control.set_bounds(low, high)
        self.follow()

    def change(self, name: str, value: Any, *, drag: bool = False) -> None:
        """What the user chose; overridden where a field takes others along."""
        self._model.set(drag=drag, **{name: value})

    def set_most(self, name: str, most: int) -> None:
        """The largest value of a whole number (the model's last layer). A stored value beyond it
        stays on screen: the run would be refused for it."""
        spin = self.controls[name]
        assert isinstance(spin, QSpinBox)
        with QSignalBlocker(spin):
            spin.setMaximum(max(most, self.shown_value(name) or 0))
        self.follow()

    def refuse(self, name: str, choice: str, why: str) -> None:
        """Make one choice of a list impossible, and say why as its tooltip; "" offers it again."""
        combo = self.controls[name]
        assert isinstance(combo, QComboBox)
        items = combo.model()
        assert isinstance(items, QStandardItemModel)
        item = items.item(combo.findData(choice))
        item.setEnabled(not why)
        item.setToolTip(why)

    def shown_value(self, name: str) -> Any:
        """What the control of a field shows; overridden where None stands for a default."""
        return getattr(self._model.stored, name)

    def follow(self) -> None:
        """Show the model's present values."""
        for name, control in self.controls.items():
            value = self.shown_value(name)
            if isinstance(control, FloatControl):
                control.set_value(value)
                continue
            with QSignalBlocker(control):
                if isinstance(control, QComboBox):
                    control.setCurrentIndex(control.findData(value))
                elif isinstance(control, QSpinBox):
                    control.setValue(control.minimum() if value is None else value)
                elif isinstance(control, QDoubleSpinBox):
                    control.setValue(value)

    # ------------------------------------------------------------------------------ plumbing
    def _control(self, name: str, field: FieldInfo) -> QWidget:
        choices = _choices(field)
        if choices:
            return self._combo(name, choices)
        low, high = _declared_bounds(field)
        if int in _kinds(field):
            return self._spin(name, int(low), int(high), optional=type(None) in _kinds(field))
        low, high = self._bounds.get(name, (low, high))
        if name in self._as_spin:
            return self._float_spin(name, low, high)
        control = FloatControl(low, high)
        control.changed.connect(lambda value, drag, name=name: self.change(name, value, drag=drag))
        control.released.connect(self._model.end_drag)
        return control

    def _combo(self, name: str, choices: Sequence[str]) -> QComboBox:
        combo = QComboBox()
        combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        # Long choices are shortened in a narrow panel rather than cut off at its edge.
        combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        combo.setMinimumContentsLength(8)
        for choice in choices:
            words = self._words.get(name)
            if words is None:
                combo.addItem(choice.capitalize().replace("-", " "), choice)
            elif choice in words:
                combo.addItem(words[choice], choice)
        combo.activated.connect(
            lambda _, name=name, combo=combo: self.change(name, combo.currentData())
        )
        return combo

    def _spin(self, name: str, low: int, high: int, *, optional: bool) -> QSpinBox:
        spin = QSpinBox()
        spin.setRange(low - 1 if optional else low, min(high, 2**31 - 1))
        if optional:
            spin.setSpecialValueText("default")
        spin.setKeyboardTracking(False)
        spin.valueChanged.connect(partial(self._set_number, name, low))
        return spin

    def _set_number(self, name: str, low: int, value: int) -> None:
        self.change(name, None if value < low else value)

    def _float_spin(self, name: str, low: float, high: float) -> QDoubleSpinBox:
        spin = QDoubleSpinBox()
        spin.setRange(low, high)
        spin.setSingleStep(0.1)
        spin.setKeyboardTracking(False)
        spin.valueChanged.connect(lambda value, name=name: self.change(name, value))
        return spin


def _kinds(field: FieldInfo) -> set[Any]:
    """The plain types a field may hold, Optional and Annotated taken apart."""
    found: set[Any] = set()

    def walk(kind: Any) -> None:
        inner = get_args(kind)
        if inner and get_origin(kind) is not Literal:
            for each in inner:
                walk(each)
        else:
            found.add(kind)

    walk(field.annotation)
    return found


def _choices(field: FieldInfo) -> tuple[str, ...]:
    for kind in _kinds(field):
        if get_origin(kind) is Literal:
            return tuple(get_args(kind))
    return ()


def _declared_bounds(field: FieldInfo) -> tuple[float, float]:
    low, high = 0.0, 1e6
    for bound in field.metadata:
        low = max(low, getattr(bound, "ge", None) or 0.0)
        if getattr(bound, "gt", None) is not None:
            low = max(low, bound.gt + 0.01)
        high = min(high, getattr(bound, "le", None) or high)
    return low, high
