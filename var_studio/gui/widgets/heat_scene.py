"""What a heat map lies on: one picture with some of its grids of visual tokens, or a bare strip."""

from __future__ import annotations

from collections.abc import Collection, KeysView
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PySide6 import QtCore, QtGui

from var_studio.analysis.views import group_name, view_groups
from var_studio.recording.layout import Box, View, VisualLayout

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 2560
"""More would only be sampled down again at every zoom."""


@dataclass(frozen=True)
class HeatScene:
    """A picture (or none), the grids shown on it, and the parts that the model never saw.

    Scene coordinates are pixels of the original picture. `bounds` holds the picture and every
    grid: a grid reaches beyond the picture where the model saw padding.
    """

    title: str
    views: tuple[View, ...]
    size: tuple[int, int] = (0, 0)
    picture: QtGui.QImage | None = None
    unseen: tuple[Box, ...] = ()
    strip: bool = False
    image: int = 0
    view_indices: tuple[int, ...] = ()
    _cells: dict[int, QtCore.QRectF] = field(default_factory=dict, repr=False)
    _grey: list[QtGui.QImage] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        for view in self.views:
            xs, ys = view.edges()
            for row, col in zip(*np.nonzero(view.tokens >= 0), strict=True):
                self._cells[int(view.tokens[row, col])] = QtCore.QRectF(
                    QtCore.QPointF(xs[col], ys[row]), QtCore.QPointF(xs[col + 1], ys[row + 1])
                )

    @property
    def bounds(self) -> QtCore.QRectF:
        """The rectangle that holds everything, in scene coordinates."""
        bounds = QtCore.QRectF(0, 0, *self.size)
        for view in self.views:
            left, top, right, bottom = view.box
            bounds = bounds.united(QtCore.QRectF(left, top, right - left, bottom - top))
        return bounds

    @property
    def grey_picture(self) -> QtGui.QImage:
        """The picture without its colours, made once."""
        if not self._grey:
            assert self.picture is not None
            self._grey.append(self.picture.convertToFormat(QtGui.QImage.Format.Format_Grayscale8))
        return self._grey[0]

    def cell(self, token: int) -> QtCore.QRectF | None:
        """The cell of the k-th visual token; None where this scene does not show it."""
        return self._cells.get(token)

    @property
    def tokens(self) -> KeysView[int]:
        """The visual tokens k that have a cell here."""
        return self._cells.keys()

    def tokens_in(self, box: QtCore.QRectF) -> list[int]:
        """Visual tokens at least half of whose cell lies in a rectangle of the scene."""
        found = []
        for token, cell in self._cells.items():
            common = cell.intersected(box)
            if common.width() * common.height() >= 0.5 * cell.width() * cell.height() - 1e-9:
                found.append(token)
        return found

    def brushed(self, x: float, y: float, across: int) -> list[int]:
        """Visual tokens under a round brush `across` cells wide around a point of the scene: the
        cell that holds it, and those whose middle it covers."""
        under = self.token_at(x, y)
        found = set() if under is None else {under}
        for view in self.views if across > 1 else ():
            xs, ys = view.edges()
            wide, high = (xs[-1] - xs[0]) / view.cols, (ys[-1] - ys[0]) / view.rows
            right = ((xs[:-1] + xs[1:]) / 2 - x) / wide
            down = ((ys[:-1] + ys[1:]) / 2 - y) / high
            near = right[None, :] ** 2 + down[:, None] ** 2 <= (across / 2) ** 2
            found.update(int(k) for k in view.tokens[near & (view.tokens >= 0)])
        return sorted(found)

    def brush_box(self, x: float, y: float, across: int) -> QtCore.QRectF:
        """What holds the outline of that brush: cells of the view under it, or the nearest."""
        inside = [v for v in self.views if v.box[0] <= x < v.box[2] and v.box[1] <= y < v.box[3]]
        left, top, right, bottom = (view := (inside or self.views)[0]).box
        wide, high = across * (right - left) / view.cols, across * (bottom - top) / view.rows
        return QtCore.QRectF(x - wide / 2, y - high / 2, wide, high)

    def border(self, tokens: Collection[int]) -> list[QtCore.QLineF]:
        """The lines around a set of visual tokens: edges of its cells that are not shared."""
        lines = []
        wanted = np.fromiter(tokens, dtype=np.int64, count=len(tokens))
        for view in self.views:
            within = np.pad(np.isin(view.tokens, wanted) & (view.tokens >= 0), 1)
            xs, ys = view.edges()
            for row, col in zip(*np.nonzero(within[1:, :] != within[:-1, :]), strict=True):
                if 0 < col <= view.cols:
                    lines.append(QtCore.QLineF(xs[col - 1], ys[row], xs[col], ys[row]))
            for row, col in zip(*np.nonzero(within[:, 1:] != within[:, :-1]), strict=True):
                if 0 < row <= view.rows:
                    lines.append(QtCore.QLineF(xs[col], ys[row - 1], xs[col], ys[row]))
        return lines

    def token_at(self, x: float, y: float) -> int | None:
        """Visual token k whose cell holds a point of the scene."""
        for view in self.views:
            left, top, right, bottom = view.box
            if left <= x < right and top <= y < bottom:
                col = min(int((x - left) / (right - left) * view.cols), view.cols - 1)
                row = min(int((y - top) / (bottom - top) * view.rows), view.rows - 1)
                token = int(view.tokens[row, col])
                if token >= 0:
                    return token
        return None

    def bare_at(self, x: float, y: float) -> str:
        """What a point of the picture without a cell lies in: "unseen", a part that the model never
        saw; "elsewhere", one that only other views see; else empty."""
        point = QtCore.QPointF(x, y)
        if any(_rect(box).contains(point) for box in self.unseen):
            return "unseen"
        return "elsewhere" if self.elsewhere.contains(point) else ""

    @cached_property
    def elsewhere(self) -> QtGui.QPainterPath:
        """The parts of the picture that only other views of it see."""
        path = QtGui.QPainterPath()
        if self.strip:
            return path
        path.addRect(QtCore.QRectF(0, 0, *self.size))
        covered = QtGui.QPainterPath()
        covered.setFillRule(QtCore.Qt.FillRule.WindingFill)
        for box in (*(view.box for view in self.views), *self.unseen):
            # Views that touch may be a rounding apart.
            covered.addRect(_rect(box).adjusted(-0.5, -0.5, 0.5, 0.5))
        return path.subtracted(covered)

    @property
    def legend(self) -> str:
        """What hatches and veils on the picture stand for, as far as there are any."""
        parts = ["hatched: never seen"] if self.unseen else []
        parts += ["veiled: not in this view"] if not self.elsewhere.isEmpty() else []
        return ", ".join(parts)

    def neighbour(self, token: int, rows: int, cols: int) -> int | None:
        """The token some rows down and columns right of one, in the same grid."""
        for view in self.views:
            places = np.argwhere(view.tokens == token)
            if len(places):
                row = min(max(int(places[0, 0]) + rows, 0), view.rows - 1)
                col = min(max(int(places[0, 1]) + cols, 0), view.cols - 1)
                found = int(view.tokens[row, col])
                return found if found >= 0 else None
        return None


def _rect(box: Box) -> QtCore.QRectF:
    left, top, right, bottom = box
    return QtCore.QRectF(left, top, right - left, bottom - top)


def scenes_of(layout: VisualLayout, pictures: list[QtGui.QImage | None]) -> list[HeatScene]:
    """One scene for each picture and each set of its grids that do not overlap.

    Tiles of a picture come together; a thumbnail of the whole picture is a scene of its own.
    Where the geometry is not known: one strip.
    """
    if not layout.known or not layout.views:
        return [HeatScene(title="strip", views=(layout.strip(),), strip=True)]
    scenes = []
    for group in view_groups(layout):
        image = layout.views[group[0]].image
        scenes.append(_scene(layout, image, layout.image_sizes[image], group, pictures))
    return scenes


def _scene(
    layout: VisualLayout,
    image: int,
    size: tuple[int, int],
    group: tuple[int, ...],
    pictures: list[QtGui.QImage | None],
) -> HeatScene:
    return HeatScene(
        title=group_name(layout, group),
        views=tuple(layout.views[index] for index in group),
        size=size,
        picture=pictures[image] if image < len(pictures) else None,
        unseen=layout.unseen[image] if image < len(layout.unseen) else (),
        image=image,
        view_indices=group,
    )


def to_qimage(image: Image.Image | npt.NDArray[np.uint8]) -> QtGui.QImage:
    """A picture as a QImage that owns its pixels; at most `MOST_PIXELS` on its longer side."""
    if isinstance(image, np.ndarray):
        pixels = image
    else:
        times = -(-max(image.size) // MOST_PIXELS)
        reduced = image.convert("RGB")
        pixels = np.asarray(reduced.reduce(times) if times > 1 else reduced)
    rgb = np.ascontiguousarray(pixels, dtype=np.uint8)
    height, width = rgb.shape[:2]
    return QtGui.QImage(
        rgb.data, width, height, 3 * width, QtGui.QImage.Format.Format_RGB888
    ).convertToFormat(QtGui.QImage.Format.Format_RGB32)
