"""The row of controls under the maps: sinks, opacity, colours, scale, gamma."""

from __future__ import annotations

import numpy as np
from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui.models.view import ViewModel
from var_studio.gui.widgets.colour_maps import DIVERGING, SEQUENTIAL, colour_table

SCALES = (
    ("map", "These maps", "Before and after share one scale, made for the heads shown."),
    ("token", "All heads of this token", "Comparable between the heads of one token."),
    (
        "shared",
        "All tokens looked at so far",
        "Comparable between tokens: up to the largest value shown of this run, never less.",
    ),
)
QUANTITIES = (
    ("attention", "Attention α", "How much of the row each visual token gets."),
    (
        "contribution",
        "Contribution α·‖v Wₒ‖",
        "What each visual token adds to the residual stream: attention times the norm of its "
        "value after the output projection (Sec. 4.2).",
    ),
)

ROBUST = "Robust (sinks and the top 1 % may exceed it)"
GAMMA_MOST = 5.0
_GAMMA_STEPS = 20


class MapControls(QtWidgets.QWidget):
    """Shows a ViewModel's settings and changes them."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._view: ViewModel | None = None
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        self.sinks = _toggle("Box sinks", "Boxes around the visual sinks, φ ≥ τ (Sec. 4.1). Key: S")
        self.hide_sinks = _toggle(
            "Hide sinks", "Leave the visual sinks out of the map and of its scale."
        )
        self.smooth = _toggle("Smooth", "Interpolate between the middles of the cells.")
        self.opacity = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setMinimumWidth(50)
        self.opacity.setMaximumWidth(120)
        self.opacity.setToolTip("Opacity of the map over the picture.")
        self.opacity.setAccessibleName("Opacity of the map")
        label = QtWidgets.QLabel("Opacity")
        label.setObjectName("quiet")
        self.colours = QtWidgets.QToolButton()
        self.colours.setText("Scale ▾")
        self.colours.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self.colours.setToolTip("Colour maps, the upper end of their scale, gamma.")
        self.colours.setAccessibleName("Colours and scale")
        self.colours.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        self.colours.setAutoRaise(True)
        self.colours.setMenu(self._menu())
        for widget in (self.sinks, self.hide_sinks, self.smooth):
            row.addWidget(widget)
        row.addStretch(1)
        row.addWidget(label)
        row.addWidget(self.opacity, 1)
        row.addSpacing(4)
        row.addWidget(self.colours)
        self.sinks.clicked.connect(self._toggle_sinks)
        self.hide_sinks.clicked.connect(self._toggle_hide_sinks)
        self.smooth.clicked.connect(self._toggle_smooth)
        self.opacity.valueChanged.connect(self._opacity_moved)

    def _menu(self) -> QtWidgets.QMenu:
        menu = QtWidgets.QMenu(self)
        menu.setToolTipsVisible(True)
        # Made here rather than by the menu: of an action that Qt makes and deletes by itself, a
        # stale wrapper can be found again at the address of a later one.
        self._choices: dict[str, dict[str, QtGui.QAction]] = {}
        for field, heading, choices in (
            ("quantity", "What the map shows", list(QUANTITIES)),
            ("colour_map", "Colours", [(k, v, "") for k, v in SEQUENTIAL.items()]),
            (
                "difference_map",
                "Colours of differences",
                [(k, v, "") for k, v in DIVERGING.items()],
            ),
            ("scale", "One scale for", list(SCALES)),
        ):
            menu.addSection(heading)
            group = QtGui.QActionGroup(menu)
            self._choices[field] = {}
            for key, text, tip in choices:
                action = QtGui.QAction(text, menu)
                menu.addAction(action)
                action.setCheckable(True)
                action.setToolTip(tip)
                action.setData((field, key))
                if field.endswith("map"):
                    action.setIcon(_swatch(key))
                group.addAction(action)
                self._choices[field][key] = action
            group.triggered.connect(self._chosen)
        menu.addSection("Upper end")
        self.robust = QtGui.QAction(ROBUST, menu)
        menu.addAction(self.robust)
        self.robust.setCheckable(True)
        self.robust.setToolTip("So that one sink does not black out the rest. Off: full range.")
        self.robust.triggered.connect(self._toggle_robust)
        menu.addSection("Gamma")
        self.gamma = GammaSlider()
        self.gamma.chosen.connect(self._gamma_moved)
        holder = QtWidgets.QWidgetAction(menu)
        holder.setDefaultWidget(self.gamma)
        menu.addAction(holder)
        return menu

    def set_view(self, view: ViewModel) -> None:
        """Follow and change these settings."""
        self._view = view
        view.changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        assert self._view is not None
        current = self._view.current
        self.sinks.setChecked(current.sinks_boxed)
        self.hide_sinks.setChecked(current.hide_sinks)
        self.smooth.setChecked(current.smooth)
        self.robust.setChecked(current.robust)
        self.gamma.set_gamma(current.gamma)
        with QtCore.QSignalBlocker(self.opacity):
            self.opacity.setValue(round(100 * current.opacity))
        for field, actions in self._choices.items():
            action = actions.get(getattr(current, field))
            if action is not None:
                action.setChecked(True)

    def _chosen(self, action: QtGui.QAction) -> None:
        field, key = action.data()
        self._set(**{field: key})

    def _toggle_sinks(self, on: bool) -> None:
        self._set(sinks_boxed=on)

    def _toggle_hide_sinks(self, on: bool) -> None:
        self._set(hide_sinks=on)

    def _toggle_smooth(self, on: bool) -> None:
        self._set(smooth=on)

    def _toggle_robust(self, on: bool) -> None:
        self._set(robust=on)

    def _opacity_moved(self, value: int) -> None:
        self._set(opacity=value / 100)

    def _gamma_moved(self, gamma: float) -> None:
        self._set(gamma=gamma)

    def _set(self, **changes: object) -> None:
        if self._view is not None:
            self._view.set(**changes)


class ControlsFold(QtWidgets.QToolButton):
    """A button that holds the controls while there is no room for them; a click shows them."""

    def __init__(self, controls: MapControls, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._controls = controls
        self.folded = False
        self.setText("View ▾")
        self.setAutoRaise(True)
        self.setObjectName("toggle")
        self.setToolTip("Sinks, opacity, colours and scale of the map.")
        self.setAccessibleName("How the map is shown")
        self.popup = QtWidgets.QFrame(self, QtCore.Qt.WindowType.Popup)
        self.popup.setObjectName("popup")
        self.popup.setAccessibleName("How the map is shown")
        row = QtWidgets.QHBoxLayout(self.popup)
        row.setContentsMargins(10, 6, 10, 6)
        self.clicked.connect(self._open)
        self.hide()

    def set_folded(self, folded: bool) -> bool:
        """Take the controls in, or only let go of them: the caller places them. True if it is
        another state than before."""
        if folded == self.folded:
            return False
        self.folded = folded
        self.popup.hide()
        self.setVisible(folded)
        layout = self.popup.layout()
        assert layout is not None
        if folded:
            layout.addWidget(self._controls)
            self._controls.show()
        else:
            layout.removeWidget(self._controls)
        return True

    def _open(self) -> None:
        self.popup.adjustSize()
        place = self.mapToGlobal(self.rect().bottomRight())
        screen = self.screen().availableGeometry()
        left = max(place.x() - self.popup.width(), screen.left())
        self.popup.move(left, min(place.y() + 2, screen.bottom() - self.popup.height()))
        self.popup.show()
        self._controls.sinks.setFocus(QtCore.Qt.FocusReason.PopupFocusReason)


class GammaSlider(QtWidgets.QWidget):
    """The exponent of the colours, 0.2 to 5 with 1 in the middle; a button goes back to 1."""

    chosen = QtCore.Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(12, 2, 12, 6)
        self.slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self.slider.setRange(-_GAMMA_STEPS, _GAMMA_STEPS)
        self.slider.setMinimumWidth(120)
        self.slider.setAccessibleName("Gamma of the colours")
        tip = "Below 1, to the left, small values are told apart better; the numbers move along."
        self.setToolTip(tip)
        self.slider.setToolTip(tip)
        self.value = QtWidgets.QLabel("1")
        self.value.setMinimumWidth(self.fontMetrics().horizontalAdvance("0.00") + 4)
        self.reset = _toggle("Reset", "Back to 1: colours in proportion to the values.")
        self.reset.setCheckable(False)
        self.reset.setAccessibleName("Reset gamma to 1")
        for widget in (self.slider, self.value, self.reset):
            row.addWidget(widget)
        self.slider.valueChanged.connect(self._moved)
        self.reset.clicked.connect(self._back)

    def set_gamma(self, gamma: float) -> None:
        """Show a value; emits nothing."""
        place = round(_GAMMA_STEPS * np.log(min(max(gamma, 0.01), 100.0)) / np.log(GAMMA_MOST))
        with QtCore.QSignalBlocker(self.slider):
            self.slider.setValue(place)
        self.value.setText(f"{gamma:.2g}")

    def _moved(self, place: int) -> None:
        self.chosen.emit(round(float(GAMMA_MOST ** (place / _GAMMA_STEPS)), 2))

    def _back(self) -> None:
        self.chosen.emit(1.0)


def _toggle(text: str, tip: str) -> QtWidgets.QToolButton:
    button = QtWidgets.QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setCheckable(True)
    button.setAutoRaise(True)
    button.setObjectName("toggle")
    return button


def _swatch(name: str) -> QtGui.QIcon:
    row = np.repeat(colour_table(name)[None, ::4], 14, axis=0)
    rows = np.ascontiguousarray(row)
    image = QtGui.QImage(rows.data, 64, 14, 3 * 64, QtGui.QImage.Format.Format_RGB888).copy()
    return QtGui.QIcon(QtGui.QPixmap.fromImage(image))
