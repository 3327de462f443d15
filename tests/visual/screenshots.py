"""Pictures of the window and of every panel: `python tests/visual/screenshots.py --out DIR`.

At 1400 × 900 and 2560 × 1440 pixels, light and dark; the README shows some of them.

A whole session on the demo model, driven as a person would: a sample, a question, Run, Run with
VAR, a word, a head. Which sample, question, word and head is not written down here: all questions
of `resources/samples` are asked first, and the clearest story among the right answers is shown.
It looks at the pictures' own colours to tell on which cells the named object lies.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from var_studio.assets import resource

COLOURS = {
    "red": (220, 40, 40),
    "green": (50, 160, 70),
    "blue": (50, 90, 210),
    "yellow": (245, 205, 40),
    "orange": (245, 140, 30),
    "purple": (140, 60, 170),
    "pink": (240, 130, 180),
    "cyan": (60, 190, 210),
    "brown": (130, 85, 50),
}
STOP = {"", ",", ".", "?", "a", "an", "the", "is", "on", "in", "of", "and", "there", "row"}
STOP |= {"column", "background", "yes", "no"}
SEEN_FROM = 45.0
"""Colour distance from the background at which a pixel belongs to an object."""


@dataclass(frozen=True)
class Story:
    """A word and a head that look at the object the question is about."""

    score: float
    sample: int
    question: str
    answer: str
    position: int
    row_of: str
    layer: int
    head: int
    told: str
    object_tokens: tuple[int, ...] = ()


# ------------------------------------------------------------------------------ choosing a story
def object_cells(run: Any, words: set[str]) -> np.ndarray:
    """(V,) float: share of each visual token's cell that the objects of the named colours cover;
    of all objects where no colour is named."""
    pixels = np.asarray(run.image(0), dtype=np.float32)
    background = np.median(pixels.reshape(-1, 3), axis=0)
    solid = np.linalg.norm(pixels - background, axis=-1) > SEEN_FROM
    named = [name for name in COLOURS if name in words]
    if named:
        palette = np.array(list(COLOURS.values()), dtype=np.float32)
        nearest = np.linalg.norm(pixels[:, :, None] - palette, axis=-1).argmin(axis=-1)
        solid &= np.isin(nearest, [list(COLOURS).index(name) for name in named])
    cover = np.zeros(run.layout.count, dtype=np.float32)
    for k, box in enumerate(run.layout.boxes):
        if not np.isnan(box).any():
            left, top, right, bottom = (round(float(side)) for side in box)
            cell = solid[max(top, 0) : bottom, max(left, 0) : right]
            cover[k] = cell.mean() if cell.size else 0.0
    return cover


def stories(run: Any, sample: int, question: str, answer: str) -> Iterator[Story]:
    """One story for each telling word and image-centric head of an answered question."""
    from var_studio.analysis.reading import Focus, Reading
    from var_studio.recording.settings import Redistribution

    said = [run.tokens[int(p)] for p in run.generated_positions]
    words = [t.text.strip().lower() for t in said]
    asked = set(question.lower().replace("?", " ").split())
    long_enough = min(len(said), 8) / 8
    for number, (token, word) in enumerate(zip(said, words, strict=True)):
        if word in STOP or token.special:
            continue
        # “a purple square”: both words mean the purple one.
        own = {word, words[number - 1] if number else ""} & set(COLOURS)
        on = object_cells(run, own or asked & set(COLOURS) or set(words)) > 0.15
        if not 0 < on.sum() <= 0.25 * on.size:
            continue
        for row_of, shift in (("query", 0), ("produced", 1)):
            query = run.query_of(token.position - shift)
            if query is None:
                continue
            for layer in range(1, run.n_layers):
                reading = Reading(run, Focus(query, layer), Redistribution())
                sinks = reading.visual_sinks
                if not sinks.any() or (sinks & on).any():
                    continue
                for head in np.flatnonzero(reading.image_centric[layer]):
                    alpha = reading.attention[layer, head][reading.positions]
                    mass = float(alpha.sum())
                    share = float(alpha[on].sum()) / mass
                    gained = reading.redistributed[layer, head] - reading.attention[layer, head]
                    moved = float(np.abs(gained).sum()) / 2
                    score = share * min(mass / 0.5, 1.0) + 0.2 * long_enough
                    # A head that leaves its sinks something has something to redistribute.
                    score += 0.2 * min(moved / 0.03, 1.0)
                    score -= 0.1 * (row_of == "produced") + 0.03 * max(int(on.sum()) - 4, 0)
                    told = (
                        f"‘{token.text.strip()}’ ({row_of}), layer {layer} head {head}: "
                        f"{share:.0%} of its visual mass {mass:.2f} on {int(on.sum())} cells, "
                        f"{moved:.3f} moved"
                    )
                    yield Story(
                        score, sample, question, answer, token.position, row_of, layer, int(head),
                        told, tuple(int(k) for k in np.flatnonzero(on)),
                    )  # fmt: skip


def best_story(folder: Path) -> Story:
    """Ask every question that has an answer in samples.json; the clearest story of the right ones.

    Falls back on the first question and its last word, were no answer right.
    """
    import json

    import var_studio as vs

    lmm = vs.load_model("demo")
    index = resource("samples", "samples.json")
    document = json.loads(index.read_text(encoding="utf-8"))
    entries = document["samples"] if isinstance(document, dict) else document
    found: list[Story] = []
    number = itertools.count()
    for sample, entry in enumerate(entries):
        if entry.get("kind", "training-like") != "training-like":
            continue
        for question, answer in _questions(entry):
            run = vs.record(
                lmm, index.parent / entry["file"], question, directory=folder / str(next(number))
            )
            if answer is not None and _plain(run.text) == _plain(answer):
                found += stories(run, sample, question, run.text)
            run.close()
    lmm.release()
    if not found:
        question, answer = next(iter(_questions(entries[0])))
        return Story(0.0, 0, question, answer or "", -1, "query", 0, -1, "no story found")
    for story in sorted(found, key=lambda s: -s.score)[:5]:
        print(f"{story.score:.2f}  {story.question} {story.answer}: {story.told}")
    return max(found, key=lambda story: story.score)


def _questions(entry: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    answers = entry.get("answers") or []
    for number, question in enumerate(entry.get("questions", ())):
        if isinstance(question, dict):
            yield str(question["question"]), question.get("answer")
        else:
            yield str(question), answers[number] if number < len(answers) else None


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


# ------------------------------------------------------------------------------- at the window
class Stage:
    """The window on the demo model, with both answers to the story's question."""

    def __init__(self, story: Story) -> None:
        from var_studio.gui.app import application
        from var_studio.gui.appearance import Appearance
        from var_studio.gui.main_window import MainWindow

        self.story = story
        self.app = application()
        self.appearance = Appearance(self.app)
        self.window = MainWindow(self.appearance)
        self.window.resize(1400, 900)
        self.window.show()
        self.settle()

    def play(self) -> None:
        """Load, ask, ask with VAR, select the word and the head."""
        from var_studio.gui.models.question import shipped_samples

        window, story = self.window, self.story
        workspace = window.workspace
        window.start("demo")
        self.until(lambda: window.controller.model is not None and not window.controller.busy)
        window.intake.take_sample(shipped_samples()[story.sample])
        workspace.question.set_prompt(story.question)
        window.run_with_var()
        self.until(lambda: len(workspace.runs) == 2 and not window.controller.busy)
        assert workspace.baseline is not None
        workspace.look_at(workspace.baseline)
        workspace.selection.set_row_of(story.row_of)
        if story.position >= 0:
            workspace.selection.select_token(story.position)
        if story.head >= 0:
            workspace.selection.select_head(story.layer, story.head, False)
        window.status.say("")
        self.settle()

    def show(self, scheme: str, size: tuple[int, int], **view: Any) -> None:
        """Set theme, size and view."""
        self.window.theme_actions[scheme].trigger()
        if (self.window.width(), self.window.height()) != size:
            self.window.resize(*size)
            self.settle()
            self.window.area.proportion()
        self.window.workspace.view.set(**view)
        focus = self.window.focusWidget()
        if focus is not None:
            focus.clearFocus()
        self.settle()

    @contextmanager
    def region(self) -> Iterator[None]:
        """The object the question is about as a region, for a while."""
        regions = self.window.workspace.regions
        name = regions.add(self.story.object_tokens, "object")
        yield
        regions.remove(name)

    def save(self, path: Path, panel: str | None = None) -> None:
        """Save the window, or one panel with its header."""
        if panel is None:
            self.window.grab().save(str(path))
        else:
            dock = self.window.area.docks[panel]
            dock.raise_()
            self.settle()
            dock.grab().save(str(path))
        print(path.name)

    def settle(self) -> None:
        """Let layouts, readings and paint events happen."""
        self.until(lambda: False, 0.4, required=False)

    def until(
        self, reached: Callable[[], bool], seconds: float = 300, required: bool = True
    ) -> None:
        """Process events until something holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.app.processEvents()
            if reached():
                return
            time.sleep(0.01)
        if required:
            raise TimeoutError("the window did not get there")

    def close(self) -> None:
        """End as closing the window would, without a question."""
        self.window.workspace.modified = False
        self.window.close()
        self.settle()
        self.window.controller.shutdown(timeout_ms=2000)


def take(stage: Stage, out: Path) -> None:
    """The whole window and every panel, at both sizes, light and dark."""
    before = {"shown": "before", "compare": "local", "thumbnails": False}
    every = before | {"shown": "all", "thumbnails": True}
    for scheme in ("light", "dark"):
        for size, suffix in (((1400, 900), ""), ((2560, 1440), "-large")):
            stage.show(scheme, size, **before)
            stage.save(out / f"window{suffix}-{scheme}.png")
            for name in stage.window.area.docks:
                stem = f"panel-{name.replace('_', '-')}{suffix}"
                with stage.region() if name == "regions" else nullcontext():
                    stage.save(out / f"{stem}-{scheme}.png", name)
            stage.window.area.docks["phi_histogram"].raise_()
            stage.show(scheme, size, **every)
            stage.save(out / f"window-all{suffix}-{scheme}.png")
            stage.save(out / f"panel-image-all{suffix}-{scheme}.png", "image")
            stage.save(out / f"panel-heads-thumbnails{suffix}-{scheme}.png", "heads")


def main() -> None:
    """Choose, play, take."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="var-studio-screenshots-"))
    # Nobody's layout, theme or list of recent files may show; on any machine the same.
    os.environ["VAR_STUDIO_HOME"] = str(home)
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    try:
        story = best_story(home / "asked")
        print(f"Shown: {story.question} {story.answer} · {story.told}")
        stage = Stage(story)
        try:
            stage.play()
            take(stage, out)
        finally:
            stage.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
