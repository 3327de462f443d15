"""Believable recordings without a model: sinks, image-centric heads, words, an image.

Not a model of anything: numbers are drawn so that every panel, figure and threshold has something
to show. φ is bimodal (BOS and a few background cells far above the rest), sinks take about half
of a text query's attention, and about a third of the heads look at a blob that moves with the
query.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from var_studio.recording.document import TOP_DIMS
from var_studio.recording.images import StoredImage, load_image
from var_studio.recording.interventions import interventions_from
from var_studio.recording.layout import View, VisualLayout
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Generation
from var_studio.recording.store import RunWriter
from var_studio.recording.tokens import Alternative, Token

SYSTEM = ["<s>", "A", " chat", ".", " USER", ":"]
PROMPT = ["\n", "What", " is", " left", " of", " the", " red", " cup", "?", " ASSISTANT", ":"]
WORDS = [
    "the",
    "blue",
    "square",
    "is",
    "left",
    "of",
    "the",
    "red",
    "cup",
    ",",
    "near",
    "the",
    "grey",
    "wall",
    ".",
]


def make_run(
    directory: str | os.PathLike[str],
    *,
    layers: int = 6,
    heads: int = 6,
    rows: int = 10,
    cols: int = 10,
    queries: int = 30,
    seed: int = 0,
    precision: Literal["float16", "float32"] = "float16",
    hidden: int | None = None,
    image_size: tuple[int, int] = (320, 240),
    name: str = "baseline",
    intervention: Any = None,
    teacher: str | None = None,
    finish: bool = True,
    varied: bool = False,
    recorded: int | None = None,
) -> Recording:
    """Write a run into a directory and open it. The same arguments give the same run.

    `varied`: heads that look at the image for one token do not for the next. `recorded`: so many
    of the `queries` rows are there, as in a run that goes on.
    """
    rng = np.random.default_rng(seed)
    hidden = hidden or heads * 32
    prompt = (PROMPT * (queries // len(PROMPT) + 1))[: max(1, min(len(PROMPT), queries // 2))]
    n_visual, first_text = rows * cols, len(SYSTEM) + rows * cols
    length = first_text + queries
    layout = make_layout(rows, cols, image_size, start=len(SYSTEM))
    tokens = _tokens(rng, n_visual, prompt, queries - len(prompt))
    sinks = _sink_positions(rng, rows, cols)
    dims = (hidden * 7 // 10, hidden // 5)

    writer = RunWriter.create(
        directory,
        name=name,
        n_layers=layers,
        n_heads=heads,
        hidden_size=hidden,
        length_max=length,
        sink_dims=dims,
        tau_default=20 / 64 * hidden**0.5,
        precision=precision,
        generation=Generation(max_new_tokens=max(1, queries - len(prompt))),
        interventions=interventions_from(intervention),
        teacher=teacher,
        provenance={"checkpoint": "synthetic", "family": "synthetic", "seed": seed},
        images=[make_image(image_size, seed)],
    )
    n_prompt = first_text + len(prompt)
    writer.put_prompt(tokens[:n_prompt], layout)
    writer.append_keys(0, *_keys(rng, layers, heads, hidden, length, sinks, dims))
    attend = _Attention(rng, layers, heads, rows, cols, sinks, length)
    attend.varied = varied
    for index in range(queries if recorded is None else recorded):
        position = first_text + index
        if position >= n_prompt:
            writer.append_token(tokens[position])
        writer.append_query(position, attend.rows(position, index / queries))
    if finish:
        writer.finish("end", {"seconds": 1.0})
    else:
        writer.abandon()
    return Recording.open(directory)


def make_layout(
    rows: int, cols: int, image_size: tuple[int, int] = (320, 240), start: int = 0
) -> VisualLayout:
    """A raster over the whole of one image."""
    width, height = image_size
    tokens = np.arange(rows * cols).reshape(rows, cols)
    x, y = np.linspace(0, width, cols + 1), np.linspace(0, height, rows + 1)
    row, col = np.divmod(np.arange(rows * cols), cols)
    return VisualLayout(
        image_sizes=(image_size,),
        positions=start + np.arange(rows * cols, dtype=np.int64),
        views=(View("image", 0, (0.0, 0.0, float(width), float(height)), tokens),),
        boxes=np.stack([x[col], y[row], x[col + 1], y[row + 1]], axis=1),
        unseen=((),),
    )


def make_image(size: tuple[int, int] = (320, 240), seed: int = 0) -> StoredImage:
    """A soft background with a few coloured rectangles."""
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 90 // width + 120, y * 80 // height + 110, (x + y) * 0 + 140], axis=-1)
    pixels = pixels.astype(np.uint8)
    for _ in range(4):
        left, top = (
            rng.integers(0, max(1, width * 3 // 4)),
            rng.integers(0, max(1, height * 3 // 4)),
        )
        pixels[top : top + height // 5, left : left + width // 6] = rng.integers(0, 256, 3)
    return load_image(Image.fromarray(pixels), "scene.png")


def _tokens(
    rng: np.random.Generator, n_visual: int, prompt: list[str], n_generated: int
) -> list[Token]:
    texts = [(text, "system") for text in SYSTEM] + [("<image>", "visual")] * n_visual
    texts += [(text, "prompt") for text in prompt]
    tokens = [
        Token(i, 1000 + i % 700, text, role, special=text in ("<s>", "<image>"))  # type: ignore[arg-type]
        for i, (text, role) in enumerate(texts)
    ]
    for index in range(n_generated):
        last = index == n_generated - 1
        text = "</s>" if last else " " + WORDS[index % len(WORDS)]
        logprobs = np.sort(np.log(rng.dirichlet([0.4] * 10)))[::-1]
        others = [" " + WORDS[(index + k) % len(WORDS)] for k in range(1, 10)]
        top = tuple(
            Alternative(2000 + k, t, float(v))
            for k, (t, v) in enumerate(zip([text, *others], logprobs, strict=True))
        )
        tokens.append(Token(len(tokens), 2000, text, "generated", last, float(logprobs[0]), top))
    return tokens


def _sink_positions(rng: np.random.Generator, rows: int, cols: int) -> npt.NDArray[np.int64]:
    """BOS and a few cells, more of them towards the border."""
    row, col = np.divmod(np.arange(rows * cols), cols)
    centre = np.hypot((row + 0.5) / rows - 0.5, (col + 0.5) / cols - 0.5) ** 2 + 0.01
    count = min(max(2, rows * cols // 60), rows * cols)
    cells = rng.choice(rows * cols, size=count, replace=False, p=centre / centre.sum())
    return np.concatenate([[0], len(SYSTEM) + np.sort(cells)])


def _keys(
    rng: np.random.Generator,
    layers: int,
    heads: int,
    hidden: int,
    length: int,
    sinks: npt.NDArray[np.int64],
    dims: tuple[int, int],
) -> tuple[npt.NDArray[np.float32], ...]:
    """Signed values, top dimensions, value norms: massive at the sinks from layer 1 on."""
    top = hidden**0.5
    values = rng.normal(0, 0.9, (layers, length, 2)).astype(np.float32)
    massive = rng.uniform(0.5, 0.8, (max(layers - 1, 0), len(sinks), 1)).astype(np.float32)
    share = rng.uniform(0.55, 1.0, (1, len(sinks), 2)).astype(np.float32)
    values[1:, sinks] = massive * share * top * np.array([1, -1], np.float32)
    ranked = np.sort(rng.normal(0, 1, (layers, length, TOP_DIMS)).astype(np.float32), axis=-1)
    ranked = ranked[..., ::-1].copy()
    which = rng.integers(0, hidden, ranked.shape).astype(np.int32)
    for rank, dim in enumerate(dims):
        which[1:, sinks, rank], ranked[1:, sinks, rank] = dim, values[1:, sinks, rank]
    norms = rng.gamma(4.0, 0.25, (layers, heads, length)).astype(np.float32)
    norms[:, :, sinks] *= 0.15
    return values, which, ranked, norms


class _Attention:
    """Rows (L, H, T) of text queries, each summing to 1 over the keys up to the query."""

    def __init__(
        self,
        rng: np.random.Generator,
        layers: int,
        heads: int,
        rows: int,
        cols: int,
        sinks: npt.NDArray[np.int64],
        length: int,
    ) -> None:
        self.rng, self.shape, self.varied = rng, (layers, heads), False
        self.rows_, self.cols, self.sinks = rows, cols, sinks
        self.visual = slice(len(SYSTEM), len(SYSTEM) + rows * cols)
        # Image-centric heads give sinks little and the image much; the rest the reverse.
        centric = rng.random((layers, heads)) < 0.35
        self.sink_share = np.where(centric, 0.1, 0.6) + rng.uniform(-0.05, 0.1, centric.shape)
        self.image_share = np.where(centric, 0.75, 0.12) + rng.uniform(-0.08, 0.08, centric.shape)
        self.centre = rng.uniform(0.15, 0.85, (layers, heads, 2))
        self.width = rng.uniform(0.08, 0.35, (layers, heads, 1, 1))
        self.texture = rng.gamma(0.6, 1.0, (layers, heads, length)).astype(np.float32)
        self.split = rng.dirichlet(np.ones(len(sinks)), (layers, heads)).astype(np.float32)
        self.split[:2, :, 0] += 1.0

    def rows(self, position: int, time: float) -> npt.NDArray[np.float32]:
        n = position + 1
        if self.varied:
            most = self.rng.uniform(0.3, 0.9)
            self.image_share = self.rng.uniform(0.05, most, self.shape)
            self.sink_share = self.rng.uniform(0.02, 1.0 - most, self.shape)
        # A new query reads the same texture from another place: cheap, and never twice the same.
        part = np.roll(self.texture, int(self.rng.integers(1, self.texture.shape[-1])), -1)[..., :n]
        row = part + np.float32(0.02)
        y = (np.arange(self.rows_) + 0.5)[:, None] / self.rows_
        x = (np.arange(self.cols) + 0.5)[None, :] / self.cols
        turn = 0.15 * np.array([np.sin(6.28 * time), np.cos(6.28 * time)])
        centre = (self.centre + turn)[..., None, None]
        far = (y - centre[:, :, 0]) ** 2 + (x - centre[:, :, 1]) ** 2
        blob = np.exp(-far / (2 * self.width**2)).reshape(*self.shape, -1).astype(np.float32)
        row[..., self.visual] *= blob + np.float32(0.03)
        row[..., self.sinks] = 0
        image = row[..., self.visual]
        row[..., self.visual] = image / image.sum(-1, keepdims=True)
        text = np.ones(n, bool)
        text[self.visual] = text[self.sinks] = False
        row[..., text] /= row[..., text].sum(-1, keepdims=True)
        sink, seen = self.sink_share[..., None], self.image_share[..., None]
        row[..., self.visual] *= seen
        row[..., text] *= np.maximum(1 - sink - seen, 0.02)
        row[..., self.sinks] = sink * self.split
        return row / row.sum(-1, keepdims=True)


def main() -> None:
    """``python -m tests.synthetic FOLDER`` writes a run to look at."""
    import sys

    print(make_run(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
