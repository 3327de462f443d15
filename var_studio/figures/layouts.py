"""Composed figures of many maps: Fig. 1, 3d and 13."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from var_studio.analysis.scale import Limits, full_limits
from var_studio.analysis.views import choose_views
from var_studio.figures.map_panels import (
    heat_panel,
    picture_left_out,
    picture_panel,
    shared_limits,
)
from var_studio.figures.scene import CHOSEN_NOTE, Scene, question_of, said, token_name
from var_studio.figures.spec import ColourScale, Figure, Gap, ImagePanel, Panel, Width
from var_studio.figures.words import (
    PICTURE_LEFT_OUT,
    STRIP_NOTE,
    bare_line,
    beyond_line,
    focus_line,
    hatched_line,
    image_line,
    sinks_line,
    sinks_rule,
)

_FEW: dict[Width, int] = {"column": 3, "two-columns": 5, "slide": 5}
_MANY: dict[Width, int] = {"column": 4, "two-columns": 7, "slide": 8}
_PAIRS: dict[Width, int] = {"column": 3, "two-columns": 4, "slide": 4}
"""Pictures side by side, the one without a map among them."""

Floats = npt.NDArray[np.float32]


def build_maps(scene: Scene) -> Figure:
    """Maps of chosen words, the visual sinks boxed (Fig. 1)."""
    shown = _Maps(scene, scene.positions(_FEW[scene.width] - 1), scene.by_itself)
    return _grid("maps", shown, _FEW[scene.width])


def build_many_tokens(scene: Scene) -> Figure:
    """Maps of all words of the answer, or of those named, on one scale (Fig. 13)."""
    shown = _Maps(scene, scene.positions(0, default="answer"), chosen=False)
    return _grid("many_tokens", shown, _MANY[scene.width])


def build_without_sinks(scene: Scene) -> Figure:
    """Maps of chosen words with their visual sinks, and without (Fig. 3d)."""
    each = _PAIRS[scene.width]
    shown = _Maps(scene, scene.positions(each - 1), scene.by_itself)
    whole = _attention(full_limits(shown.drawn), scene)
    left = _attention(shown.limits, scene)
    panels: list[Panel] = []
    gone: list[Panel] = []
    for name, values in zip(shown.names, shown.maps, strict=True):
        bare = np.where(shown.sinks, np.float32(np.nan), values)
        panels.append(shown.panel(name, values, whole))
        gone.append(shown.panel(f"{name}, no sinks", bare, left, boxed=False))
    rows: list[tuple[Panel, ...]] = []
    for start in range(0, len(panels), each - 1):
        first: Panel = shown.picture("image") if start == 0 else Gap()
        rows.append(_padded((first, *panels[start : start + each - 1]), each))
        rows.append(_padded((Gap(), *gone[start : start + each - 1]), each))
    below = "Below: without the visual sinks, on a scale of its own."
    notes = (" ".join([shown.notes()[0], below]), *shown.notes()[1:])
    return replace(_figure("without_sinks", shown, tuple(rows)), notes=notes)


def _grid(name: str, shown: _Maps, each: int) -> Figure:
    """The picture, then one map for each token, row by row; then what was said."""
    scale = _attention(shown.limits, shown.scene)
    panels: list[Panel] = [shown.picture("image")]
    panels += [
        shown.panel(label, values, scale)
        for label, values in zip(shown.names, shown.maps, strict=True)
    ]
    each = min(each, max(len(panels), 2))
    rows = [_padded(panels[n : n + each], each) for n in range(0, len(panels), each)]
    return _figure(name, shown, tuple(rows))


def _figure(name: str, shown: _Maps, rows: tuple[tuple[Panel, ...], ...]) -> Figure:
    scene = shown.scene
    parts = (question_of(scene.run) or "Maps", image_line(scene.reading, shown.views))
    words = said(scene, shown.positions)
    # Two rows of maps fill a slide.
    told = bool(words.paragraphs) and (scene.width, name) != ("slide", "without_sinks")
    return Figure(
        rows=(*rows, (words,)) if told else rows,
        title=" · ".join(part for part in parts if part),
        notes=shown.notes(),
        metadata=scene.about(name, shown.positions)
        | {"image": shown.views.image, "view": scene.options.view},
        arrays=shown.arrays(),
        table=shown.table(),
    )


def _padded(panels: Sequence[Panel], each: int) -> tuple[Panel, ...]:
    return (*panels, *(Gap() for _ in range(each - len(panels))))


def _attention(limits: Limits, scene: Scene) -> ColourScale:
    bent = f", gamma {scene.options.gamma:g}" if scene.options.gamma != 1.0 else ""
    return ColourScale(
        limits,
        scene.options.colour_map,
        f"attention α (% of the row){bent}",
        percent=True,
        gamma=scene.options.gamma,
    )


class _Maps:
    """The rows of several tokens, N of them, and what their maps share.

    `chosen`: whether the figure chose the tokens, which it then says.
    """

    def __init__(self, scene: Scene, positions: tuple[int, ...], chosen: bool) -> None:
        self.scene, self.positions, self.chosen = scene, positions, chosen
        self.views = choose_views(scene.run.layout, scene.options.image, scene.options.view)
        self.readings = tuple(scene.read(position) for position in positions)
        self.names = tuple(token_name(scene.run, position) for position in positions)
        self.maps: Floats = np.stack([reading.map_before for reading in self.readings])
        # φ and so the sinks are those of keys: the same for every row.
        self.sinks = scene.reading.visual_sinks
        self._picture = picture_panel(scene.reading, scene.options, self.views)

    @property
    def drawn(self) -> Floats:
        """(N, v): of the visual tokens in the picture alone."""
        return self.maps[:, self.views.tokens]

    @cached_property
    def limits(self) -> Limits:
        """One scale for all maps."""
        if self.scene.options.limits is not None:
            return self.scene.options.limits
        every = {"before": self.drawn.ravel()}
        sinks = {"before": np.tile(self.sinks[self.views.tokens], len(self.maps))}
        whole = np.ones(every["before"].shape, dtype=bool)
        return shared_limits(every, sinks, whole, self.scene.options, ("before",))

    def picture(self, title: str) -> Panel:
        """The picture alone."""
        if not self.scene.run.layout.known:
            return Gap(title="")
        return replace(self._picture, title=title)

    def panel(
        self, name: str, values: Floats, scale: ColourScale, boxed: bool = True
    ) -> ImagePanel:
        """One map over the picture."""
        sinks = self._picture.sinks if boxed else ()
        if self.scene.options.bare_sinks:
            values = np.where(self.sinks, np.float32(np.nan), values)
        base = replace(self._picture, sinks=sinks)
        return heat_panel(base, name, self.scene.reading, values, scale, self.views)

    def notes(self) -> tuple[str, ...]:
        reading, focus = self.scene.reading, focus_line(self.scene.reading)
        drawn = self.drawn
        beyond = beyond_line(self.limits, self.sinks[self.views.tokens], *drawn)
        lines = [
            " ".join(
                part
                for part in (
                    f"Attention of each word, {focus}.",
                    sinks_line(reading, self.views),
                    sinks_rule(reading),
                )
                if part
            ),
            bare_line(self.scene.options),
            beyond and f"In all maps together: {beyond}",
            CHOSEN_NOTE if self.chosen else "",
            hatched_line(self._picture),
            "" if reading.run.layout.known else STRIP_NOTE,
            PICTURE_LEFT_OUT if picture_left_out(reading.run, self.views) else "",
        ]
        return tuple(line for line in lines if line)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The maps, and which tokens and cells they are of."""
        layout = self.scene.run.layout
        return {
            "maps": self.maps,
            "token_positions": np.array(self.positions, dtype=np.int64),
            "visual_positions": layout.positions,
            "boxes": layout.boxes,
            "sinks": self.sinks,
        }

    def table(self) -> dict[str, npt.NDArray[Any]]:
        """A line for each token and visual token."""
        layout, n = self.scene.run.layout, len(self.positions)
        texts = [self.scene.run.tokens[position].text for position in self.positions]
        cells = [layout.cell_of(k) or (-1, -1, -1) for k in range(layout.count)]
        view, row, col = np.asarray(cells, dtype=np.int64).reshape(-1, 3).T
        return {
            "position": np.repeat(np.array(self.positions, dtype=np.int64), layout.count),
            "text": np.repeat(np.array(texts), layout.count),
            "token": np.tile(np.arange(layout.count), n),
            "view": np.tile(view, n),
            "row": np.tile(row, n),
            "col": np.tile(col, n),
            "alpha": self.maps.ravel(),
            "sink": np.tile(self.sinks, n),
        }
