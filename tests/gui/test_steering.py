"""Whose visual tokens a run gets as its region: those of the picture that it is asked about."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, notices, settle, wait_saved
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.model_worker import ModelWorker
from var_studio.gui.models.requests import RunRequest
from var_studio.recording.layout import View, VisualLayout
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Generation, Knockout, Redistribution

pytestmark = IGNORE_QT


def two_pictures(window: MainWindow, folder: Path) -> tuple[Recording, Recording]:
    """A session with a region on each of two pictures; the first one's is steered to."""
    workspace = window.workspace
    first, second = make_run(folder / "first"), make_run(folder / "second", seed=1)
    workspace.add_run(second)
    workspace.regions.add((1, 2), "wall")
    workspace.add_run(first)
    workspace.regions.add((4, 5, 6), "cup")
    workspace.method.set_target("region")
    return first, second


def test_a_region_is_sent_with_questions_about_its_picture_alone(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    workspace, intake = window.workspace, window.intake
    first, second = two_pictures(window, tmp_path)
    window.files.show_question()
    workspace.question.set_prompt("where?")
    settle(qtbot)
    steered = intake.requests("changed")[-1]
    (acting,) = steered.interventions
    assert isinstance(acting, Redistribution) and acting.region == (4, 5, 6)
    assert steered.cells is first.layout and notices(window) == []
    # The question is about the first picture; the screen shows the second, with a region of its
    # own, and without one: neither its tokens nor all tokens are what was asked for.
    workspace.look_at(second)
    for _ in range(2):
        assert intake.requests("changed") == intake.requests("pair") == []
        assert any("another picture" in text and "Press Run" in text for text in notices(window))
        window.notices.clear()
        workspace.regions.remove("wall")
        settle(qtbot)
    assert len(intake.requests("baseline")) == 1, "the next step that was named"
    # A run about the picture on screen does as the panels say there.
    window.files.show_question()
    workspace.question.set_prompt("where?")
    (acting,) = intake.requests("changed")[-1].interventions
    assert isinstance(acting, Redistribution) and acting.target == "visual"
    assert notices(window) == []


def test_which_picture_a_steered_region_is_of_comes_back_with_the_session(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    workspace, method = window.workspace, window.workspace.method
    _, second = two_pictures(window, tmp_path)
    workspace.look_at(second)
    workspace.regions.remove("wall")
    settle(qtbot)
    assert method.region_elsewhere and method.current.target == "visual"
    path = tmp_path / "a.vars"
    assert window.files.save_to(path)
    wait_saved(qtbot, window)
    workspace.modified = False
    method._pictures.clear()  # as in a new window
    assert window.files.open(path)
    settle(qtbot)
    assert method.stored.target == "region" and workspace.regions.elsewhere == ("cup",)
    assert method.region_elsewhere and method.current.target == "visual"
    assert workspace.reading is not None and workspace.reading.settings.target == "visual"
    workspace.look_at(next(run for run in workspace.runs if run.id != second.id))
    settle(qtbot)
    assert not method.region_elsewhere and method.current.region == (4, 5, 6)


def grid(rows: int, cols: int, size: tuple[int, int], start: int) -> VisualLayout:
    """The whole picture in equal cells."""
    wide, high = size[0] / cols, size[1] / rows
    boxes = [
        (c * wide, r * high, (c + 1) * wide, (r + 1) * high)
        for r in range(rows)
        for c in range(cols)
    ]
    whole = (0.0, 0.0, float(size[0]), float(size[1]))
    return VisualLayout(
        image_sizes=(size,),
        positions=start + np.arange(rows * cols, dtype=np.int64),
        views=(View("crop", 0, whole, np.arange(rows * cols).reshape(rows, cols)),),
        boxes=np.array(boxes),
        unseen=((),),
    )


@pytest.fixture(scope="module")
def worker() -> ModelWorker:
    import var_studio as vs

    worker = ModelWorker()
    worker._lmm = vs.load_model("demo")
    return worker


@pytest.mark.torch
def test_a_region_in_other_cells_is_carried_over_by_its_pixels(worker: ModelWorker) -> None:
    """The same picture, painted on the map of a model that cuts it into 5 × 5 cells and lays them
    elsewhere in the prompt; the demo model makes 10 × 10."""
    from var_studio.gui.models.question import shipped_samples
    from var_studio.recording.images import load_image

    image = load_image(shipped_samples()[0].path)
    encoded = worker._lmm.encode(image, "where?")
    assert encoded.layout.count == 100
    coarse = grid(5, 5, encoded.layout.image_sizes[0], start=40)

    def sent(
        interventions: tuple[Redistribution | Knockout, ...], cells: VisualLayout
    ) -> Recording:
        request = RunRequest(
            (image,), "where?", Generation(max_new_tokens=1), interventions, cells=cells
        )
        worker.run(request, threading.Event())
        ended = worker.take_events()
        assert type(ended[-1]).__name__ in ("RunFinished", "RunFailed"), ended
        if type(ended[-1]).__name__ == "RunFailed":
            raise ended[-1].error  # type: ignore[union-attr]
        started = next(e for e in ended if type(e).__name__ == "RunStarted")
        return Recording.open(started.path)  # type: ignore[union-attr]

    # Cell (1, 2) of the coarse grid: rows 2 and 3, columns 4 and 5 of the fine one.
    steer = Redistribution(target="region", region=(7,))
    with sent((steer,), coarse) as run:
        made_with = run.redistribution
        assert made_with is not None and made_with.region == (24, 25, 34, 35)
    hide = Knockout(tokens="chosen", positions=(47,))
    with sent((hide,), coarse) as run:
        (knockout,) = run.interventions
        assert isinstance(knockout, Knockout)
        first = int(encoded.layout.positions[0])
        assert knockout.positions == tuple(first + k for k in (24, 25, 34, 35))
    # The same cells: the same tokens.
    with sent((steer,), encoded.layout) as run:
        assert run.redistribution is not None and run.redistribution.region == (7,)
    # A cell a sixteenth as large covers half of none: refused, not sent as it is, and not to all.
    tiny = grid(40, 40, encoded.layout.image_sizes[0], start=0)
    with pytest.raises(Exception, match="covers none by half"):
        sent((steer,), tiny)
