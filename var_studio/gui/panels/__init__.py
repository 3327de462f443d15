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
    """A panel of the window: its name and title, the module here and the class that hold it, and
    its first place.

    The name is an identifier: of objects, and in remembered layouts. Name and title stand here
    because a dock and its tab show them before the class of a hidden panel is imported.

    Panels of the same place become tabs, in this order, except the first ones of `centre` and
    `right`, which stand side by side.
    """

    name: str
    title: str
    module: str
    class_name: str
    place: Place
    visible: bool = True

    def kind(self) -> type[Panel]:
        """Import the module; the panel's class."""
        found: type[Panel] = getattr(import_module(f"{__name__}.{self.module}"), self.class_name)
        return found


PANELS: tuple[PanelEntry, ...] = (
    PanelEntry("setup", "Setup", "setup", "SetupPanel", "left"),
    PanelEntry("transcript", "Transcript", "transcript", "TranscriptPanel", "top"),
    PanelEntry("image", "Image", "image", "ImagePanel", "centre"),
    PanelEntry("heads", "Heads", "heads", "HeadsPanel", "right"),
    PanelEntry("phi_histogram", "φ histogram", "phi_histogram", "PhiHistogramPanel", "bottom"),
    PanelEntry("phi_alpha", "φ × α", "phi_alpha", "PhiAlphaPanel", "bottom"),
    PanelEntry("head_scatter", "r × visual mass", "head_scatter", "HeadScatterPanel", "bottom"),
    PanelEntry("layers", "Layers", "layers", "LayersPanel", "bottom"),
    PanelEntry("hidden_state", "Hidden state", "hidden_state", "HiddenStatePanel", "bottom"),
    PanelEntry("ledger", "Ledger", "ledger", "LedgerPanel", "bottom"),
    PanelEntry("next_token", "Next token", "next_token", "NextTokenPanel", "bottom"),
    PanelEntry("regions", "Regions", "regions", "RegionsPanel", "bottom"),
    PanelEntry("token_map", "Token map", "inspector", "InspectorPanel", "bottom"),
    PanelEntry("contribution", "Contribution", "contribution", "ContributionPanel", "bottom"),
    PanelEntry("shares", "Image-centric share", "shares", "SharesPanel", "bottom"),
)
"""Adding a panel is adding a line here."""
