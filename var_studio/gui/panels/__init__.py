"""The panels, and where each one stands when the window opens for the first time."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from var_studio.gui.panels.base import Panel

Place = Literal["left", "top", "centre", "right", "bottom"]


@dataclass(frozen=True, slots=True)
class PanelEntry:
    """A panel of the window: the module and class that hold it, and its first place.

    Panels of the same place become tabs, in this order, except the first ones of `centre` and
    `right`, which stand side by side.
    """

    module: str
    class_name: str
    place: Place
    visible: bool = True

    def kind(self) -> type[Panel]:
        """Import the module; the panel's class."""
        found: type[Panel] = getattr(import_module(self.module), self.class_name)
        return found


PANELS: tuple[PanelEntry, ...] = (
    PanelEntry("var_studio.gui.panels.setup", "SetupPanel", "left"),
    PanelEntry("var_studio.gui.panels.transcript", "TranscriptPanel", "top"),
    PanelEntry("var_studio.gui.panels.image", "ImagePanel", "centre"),
    PanelEntry("var_studio.gui.panels.heads", "HeadsPanel", "right"),
    PanelEntry("var_studio.gui.panels.phi_histogram", "PhiHistogramPanel", "bottom"),
    PanelEntry("var_studio.gui.panels.phi_alpha", "PhiAlphaPanel", "bottom"),
    PanelEntry("var_studio.gui.panels.head_scatter", "HeadScatterPanel", "bottom"),
    PanelEntry("var_studio.gui.panels.layers", "LayersPanel", "bottom"),
    PanelEntry("var_studio.gui.panels.hidden_state", "HiddenStatePanel", "bottom"),
    PanelEntry("var_studio.gui.panels.ledger", "LedgerPanel", "bottom"),
    PanelEntry("var_studio.gui.panels.next_token", "NextTokenPanel", "bottom"),
    PanelEntry("var_studio.gui.panels.regions", "RegionsPanel", "bottom"),
    PanelEntry("var_studio.gui.panels.inspector", "InspectorPanel", "bottom"),
    PanelEntry("var_studio.gui.panels.contribution", "ContributionPanel", "bottom"),
    PanelEntry("var_studio.gui.panels.shares", "SharesPanel", "bottom"),
)
"""Adding a panel is adding a line here."""
