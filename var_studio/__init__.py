"""See where a multimodal model looks: visual attention sinks and their redistribution.

    import var_studio as vs

    lmm = vs.load_model("demo")
    run = vs.record(lmm, "scene.png", "what color is the circle?")
    run.attention(token="circle", layer=3, head="mean")
    vs.figures.map(run, token="circle")
    vs.export_figure(run, "map", "map.pdf")
    vs.save_session("circle.vars", run)

Names are imported when first used: `import var_studio` costs no torch, Qt or matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from var_studio.errors import VarStudioError

if TYPE_CHECKING:
    from var_studio import figures
    from var_studio.analysis.compare import compare
    from var_studio.analysis.discovery import discover_from
    from var_studio.analysis.recording import AnalysedRecording as Recording
    from var_studio.analysis.recording import open_session
    from var_studio.analysis.scale import Limits
    from var_studio.engine.discovery import discover
    from var_studio.engine.generation import record
    from var_studio.engine.pairs import record_pair
    from var_studio.figures.build import MapOptions
    from var_studio.figures.export import export_figure
    from var_studio.figures.gallery import save_gallery
    from var_studio.figures.numbers import maps_of, masks_of, save_numbers
    from var_studio.models.convert_internvl2 import convert
    from var_studio.models.forecast import forecast
    from var_studio.models.loading import load_model
    from var_studio.recording.content import Content
    from var_studio.recording.session import Session, save_session, session_size
    from var_studio.recording.settings import (
        Contrast,
        Generation,
        HeadAblation,
        Knockout,
        RecordingOptions,
        Redistribution,
    )
    from var_studio.recording.tokens import Exchange

__version__ = "0.1.0"

__all__ = [
    "Content",
    "Contrast",
    "Exchange",
    "Generation",
    "HeadAblation",
    "Knockout",
    "Limits",
    "MapOptions",
    "Recording",
    "RecordingOptions",
    "Redistribution",
    "Session",
    "VarStudioError",
    "compare",
    "convert",
    "discover",
    "discover_from",
    "export_figure",
    "figures",
    "forecast",
    "load_model",
    "maps_of",
    "masks_of",
    "open_session",
    "record",
    "record_pair",
    "save_gallery",
    "save_numbers",
    "save_session",
    "session_size",
]

_HOME = {
    "Content": "var_studio.recording.content",
    "Contrast": "var_studio.recording.settings",
    "Exchange": "var_studio.recording.tokens",
    "Generation": "var_studio.recording.settings",
    "HeadAblation": "var_studio.recording.settings",
    "Knockout": "var_studio.recording.settings",
    "Limits": "var_studio.analysis.scale",
    "MapOptions": "var_studio.figures.build",
    "Recording": "var_studio.analysis.recording",
    "RecordingOptions": "var_studio.recording.settings",
    "Redistribution": "var_studio.recording.settings",
    "Session": "var_studio.recording.session",
    "compare": "var_studio.analysis.compare",
    "convert": "var_studio.models.convert_internvl2",
    "discover": "var_studio.engine.discovery",
    "discover_from": "var_studio.analysis.discovery",
    "export_figure": "var_studio.figures.export",
    "forecast": "var_studio.models.forecast",
    "load_model": "var_studio.models.loading",
    "maps_of": "var_studio.figures.numbers",
    "masks_of": "var_studio.figures.numbers",
    "open_session": "var_studio.analysis.recording",
    "record": "var_studio.engine.generation",
    "record_pair": "var_studio.engine.pairs",
    "save_gallery": "var_studio.figures.gallery",
    "save_numbers": "var_studio.figures.numbers",
    "save_session": "var_studio.recording.session",
    "session_size": "var_studio.recording.session",
}

_CALLED = {"Recording": "AnalysedRecording"}
"""Names that are others at home: the library's recordings are those that a notebook asks."""


def __getattr__(name: str) -> Any:
    if name == "figures":
        return import_module("var_studio.figures")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), _CALLED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "figures"})
