"""Synthetic scenes for the demo model: coloured shapes on a 5 x 5 grid, drawn at any size.

A scene is a background and up to six objects. Every picture is a function of the scene and a
seeded NumPy generator, so a training batch, a held-out set and a sample picture can be redrawn
exactly.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

IMAGE_SIZE = 140  # pixels: what the vision tower sees
PATCH_SIZE = 14
PATCHES_PER_SIDE = IMAGE_SIZE // PATCH_SIZE
VISUAL_TOKENS = PATCHES_PER_SIDE**2
GRID = 5  # cells per side; a cell is 2 x 2 patches
MAX_OBJECTS = 6

COLOURS = {
    "red": (214, 40, 40),
    "green": (40, 160, 60),
    "blue": (45, 90, 215),
    "yellow": (240, 205, 40),
    "purple": (140, 60, 170),
    "orange": (240, 130, 30),
}
SHAPES = ("circle", "square", "triangle", "star", "cross")
BACKGROUNDS = {
    "white": (236, 236, 236),
    "gray": (150, 150, 150),
    "black": (32, 32, 32),
    "beige": (222, 204, 170),
}


@dataclass(frozen=True, order=True)
class Shape:
    """One object: its grid cell (row and column from the top left, from 0), colour and shape."""

    row: int
    column: int
    colour: str
    shape: str

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def cell(self) -> int:
        return self.row * GRID + self.column


@dataclass(frozen=True)
class Scene:
    """A background name and the objects on it, in reading order."""

    background: str
    objects: tuple[Shape, ...]


def random_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene; half of the cells share a row or a column with an earlier one.

    Without that, most questions about neighbours would be answered by "nothing".
    """
    count = int(rng.integers(1, MAX_OBJECTS + 1))
    cells: list[tuple[int, int]] = []
    while len(cells) < count:
        row, column = int(rng.integers(GRID)), int(rng.integers(GRID))
        if cells and rng.random() < 0.5:
            anchor = cells[rng.integers(len(cells))]
            if rng.random() < 0.5:
                row = anchor[0]
            else:
                column = anchor[1]
        if (row, column) not in cells:
            cells.append((row, column))
    colours = _palette(tuple(COLOURS), rng)
    shapes = _palette(SHAPES, rng)
    objects = sorted(
        Shape(row, column, str(rng.choice(colours)), str(rng.choice(shapes)))
        for row, column in cells
    )
    return Scene(str(rng.choice(list(BACKGROUNDS))), tuple(objects))


def _palette(names: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    """All names, or (two times in five) three of them, so that objects often share a word."""
    if rng.random() < 0.6:
        return list(names)
    return [str(name) for name in rng.choice(names, 3, replace=False)]


def render(scene: Scene, rng: np.random.Generator, size: int = IMAGE_SIZE) -> np.ndarray:
    """Draw a scene. Returns (size, size, 3) uint8."""
    canvas = _background(scene.background, rng, size)
    cell = size / GRID
    for thing in scene.objects:
        radius = round(cell * rng.uniform(0.30, 0.42))
        rotation = int(rng.choice((-8, -4, 0, 4, 8)))
        slack = cell / 2 - radius - 1
        centre_y = (thing.row + 0.5) * cell + rng.uniform(-slack, slack)
        centre_x = (thing.column + 0.5) * cell + rng.uniform(-slack, slack)
        colour = np.array(COLOURS[thing.colour], np.float32) + rng.uniform(-14, 14, 3)
        _paste(canvas, _stencil(thing.shape, radius, rotation), centre_y, centre_x, colour)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _paste(canvas, stencil, centre_y, centre_x, colour) -> None:
    size, side = canvas.shape[0], stencil.shape[0]
    top, left = round(centre_y - side / 2), round(centre_x - side / 2)
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + side, size), min(left + side, size)
    alpha = stencil[y0 - top : y1 - top, x0 - left : x1 - left, None]
    canvas[y0:y1, x0:x1] = canvas[y0:y1, x0:x1] * (1 - alpha) + colour * alpha


@functools.lru_cache(maxsize=4096)
def _stencil(shape: str, radius: int, rotation: int) -> np.ndarray:
    """Anti-aliased alpha mask of a shape. Returns (2 * radius + 2,) * 2 float32 in 0..1."""
    scale, side = 4, 2 * radius + 2
    picture = Image.new("L", (side * scale, side * scale), 0)
    pen = ImageDraw.Draw(picture)
    centre, reach = side * scale / 2, radius * scale
    if shape == "circle":
        low, high = centre - 0.92 * reach, centre + 0.92 * reach
        pen.ellipse([low, low, high, high], fill=255)
    else:
        turn = np.deg2rad(rotation)
        cosine, sine = np.cos(turn), np.sin(turn)
        corners = [
            (centre + reach * (x * cosine - y * sine), centre + reach * (x * sine + y * cosine))
            for x, y in _outline(shape)
        ]
        pen.polygon(corners, fill=255)
    return np.asarray(picture.resize((side, side), Image.LANCZOS), np.float32) / 255


def _outline(shape: str) -> list[tuple[float, float]]:
    """Corners of a shape in units of its radius, pointing up."""

    def ring(count: int, start: float, radii: tuple[float, ...]) -> list[tuple[float, float]]:
        angles = start + np.arange(count) * 2 * np.pi / count
        return [
            (radii[i % len(radii)] * np.cos(angle), radii[i % len(radii)] * np.sin(angle))
            for i, angle in enumerate(angles)
        ]

    if shape == "square":
        return ring(4, np.pi / 4, (1.12,))
    if shape == "triangle":
        return ring(3, -np.pi / 2, (1.1,))
    if shape == "star":
        return ring(10, -np.pi / 2, (1.1, 0.45))
    arm = 0.36
    quarter = [(-arm, -1), (arm, -1), (arm, -arm)]
    return [
        corner
        for turns in range(4)
        for corner in (_quarter_turns(point, turns) for point in quarter)
    ]


def _quarter_turns(point: tuple[float, float], turns: int) -> tuple[float, float]:
    for _ in range(turns):
        point = (-point[1], point[0])
    return point


def _background(name: str, rng: np.random.Generator, size: int) -> np.ndarray:
    """A plain, graded, striped or grainy background. Returns (size, size, 3) float32."""
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = np.array(BACKGROUNDS[name], np.float32) + rng.uniform(-8, 8)
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32) / size
    texture = rng.integers(4)
    if texture == 1:
        canvas += 16 * (columns * rng.uniform(-1, 1) + rows * rng.uniform(-1, 1))[..., None]
    elif texture == 2:
        waves = columns * rng.integers(-6, 7) + rows * rng.integers(-6, 7)
        canvas += 5 * np.sin(2 * np.pi * waves)[..., None]
    elif texture == 3:
        canvas += rng.normal(0, 5, (size, size, 1))
    canvas += rng.normal(0, 2, (size, size, 1))
    return canvas


def object_patches(scene: Scene) -> np.ndarray:
    """Class of every patch. Returns (VISUAL_TOKENS,) int64: 0 background, else 1 + class.

    The class is 5 * colour + shape; all four patches of an occupied cell count as the object.
    """
    cells = np.zeros((GRID, GRID), np.int64)
    for thing in scene.objects:
        colour = list(COLOURS).index(thing.colour)
        cells[thing.row, thing.column] = 1 + colour * len(SHAPES) + SHAPES.index(thing.shape)
    side = PATCHES_PER_SIDE // GRID
    return np.kron(cells, np.ones((side, side), np.int64)).ravel()


def emptiness(scene: Scene) -> np.ndarray:
    """How far every patch is from the nearest object. Returns (VISUAL_TOKENS,) float32 in 0..1.

    1 is the emptiest patch of this scene, 0 the patches of an object.
    """
    side = PATCHES_PER_SIDE // GRID
    rows, columns = np.mgrid[0:PATCHES_PER_SIDE, 0:PATCHES_PER_SIDE]
    centres = [(side * (t.row + 0.5) - 0.5, side * (t.column + 0.5) - 0.5) for t in scene.objects]
    distance = np.min([np.hypot(rows - y, columns - x) for y, x in centres], axis=0)
    distance = np.where(object_patches(scene).reshape(rows.shape) > 0, 0, distance)
    return (distance / distance.max()).ravel().astype(np.float32)


def pixels(images: list[np.ndarray]) -> np.ndarray:
    """Scale pictures as the image processor does. Returns (n, 3, size, size) float32 in -1..1."""
    return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
