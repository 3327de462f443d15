"""What a figure needs to know to look as the maps on screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from var_studio.gui.panels.image_maps import Maps, difference_limits

if TYPE_CHECKING:
    from var_studio.analysis.scale import Limits
    from var_studio.figures.build import MapOptions
    from var_studio.gui.models.view import ViewSettings
    from var_studio.gui.widgets.heat_scene import HeatScene
    from var_studio.recording.layout import VisualLayout

SCALE_NAMES = {
    "map": "",
    "token": "that of all heads of this token",
    "shared": "one for all tokens looked at so far",
}


def options_of(
    view: ViewSettings, maps: Maps, limits: Limits, layout: VisualLayout, scene: HeatScene
) -> MapOptions:
    """The settings, scales and view of a picture on screen."""
    from var_studio.figures.build import MapOptions

    several = sum(each.image == scene.image for each in layout.views) > 1
    alone = several and len(scene.view_indices) == 1
    return MapOptions(
        opacity=view.opacity,
        smooth=view.smooth,
        robust=view.robust,
        colour_map=view.colour_map,
        image=scene.image,
        view=scene.view_indices[0] if alone else None,
        difference_map=view.difference_map,
        gamma=min(max(view.gamma, 0.1), 10.0),
        limits=limits,
        difference_limits=difference_limits(maps, view),
        scale_name=SCALE_NAMES[view.scale],
        sinks_boxed=view.sinks_boxed,
        bare_sinks=view.hide_sinks,
        grey=False,
        quantity=view.quantity,
    )
