"""What to draw as plain data, and how it is drawn."""

from __future__ import annotations

from var_studio.figures.build import (
    FIGURES,
    MapOptions,
    build,
    build_heads,
    build_histogram,
    build_map,
)
from var_studio.figures.choice import NoRowError, RowOf, read
from var_studio.figures.data import load_settings, save_beside
from var_studio.figures.export import export, export_figure
from var_studio.figures.render import FigureError, render, save
from var_studio.figures.spec import WIDTHS, Figure, Width

__all__ = [
    "FIGURES",
    "WIDTHS",
    "Figure",
    "FigureError",
    "MapOptions",
    "NoRowError",
    "RowOf",
    "Width",
    "build",
    "build_heads",
    "build_histogram",
    "build_map",
    "export",
    "export_figure",
    "load_settings",
    "read",
    "render",
    "save",
    "save_beside",
]
