"""Stop, pressed at any moment of a pair: what was recorded stays, nothing else begins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import (
    IGNORE_QT,
    PATIENCE,
    click_word,
    notices,
    press,
    settle,
    wait_idle,
)
from var_studio.gui.main_window import MainWindow

pytestmark = IGNORE_QT


class Held:
    """Holds the real engine at one event of one run, until Stop is pressed."""

    def __init__(self, run: int, is_there: Callable[[Any], bool]) -> None:
        self.run, self.is_there = run, is_there
        self.reached = threading.Event()
        self._begun = 0

    def wrap(self, record: Callable[..., Any]) -> Callable[..., Any]:
        def held(*args: Any, on_event: Callable[[Any], None], **kwargs: Any) -> Any:
            cancel: threading.Event = kwargs["cancel"]
            number, self._begun = self._begun, self._begun + 1

            def tell(event: Any) -> None:
                on_event(event)
                here = number == self.run and not self.reached.is_set()
                if here and self.is_there(event):
                    self.reached.set()
                    cancel.wait(PATIENCE / 1000)

            return record(*args, on_event=tell, **kwargs)

        return held


def _named(name: str, stage: str = "") -> Callable[[Any], bool]:
    return lambda event: (
        type(event).__name__ == name and (not stage or getattr(event, "stage", "") == stage)
    )


@pytest.mark.parametrize(
    ("run", "there", "reasons", "words"),
    [
        (0, _named("Progress", "prefill"), ["cancelled"], [0]),
        (0, _named("TokenProduced"), ["cancelled"], [1]),
        (0, _named("RunFinished"), ["end"], [None]),
        (1, _named("Progress", "prefill"), ["end", "cancelled"], [None, 0]),
        (1, _named("TokenProduced"), ["end", "cancelled"], [None, 1]),
        (2, _named("TokenProduced"), ["end", "end", "cancelled"], [None, None, 1]),
    ],
    ids=["prefill", "baseline", "between", "second's prefill", "second", "forced"],
)
def test_stop_keeps_what_was_recorded(
    demo: MainWindow,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    run: int,
    there: Callable[[Any], bool],
    reasons: list[str],
    words: list[int | None],
) -> None:
    from var_studio.engine import generation

    held, record = Held(run, there), generation.record
    monkeypatch.setattr(generation, "record", held.wrap(record))
    press(qtbot, demo.setup.run_pair_button)
    qtbot.waitUntil(held.reached.is_set, timeout=PATIENCE)
    settle(qtbot)
    press(qtbot, demo.setup.stop_button)
    wait_idle(qtbot, demo)
    runs = demo.workspace.runs
    said = [len(each.generated_positions) for each in runs]
    assert [each.reason for each in runs] == reasons
    for wanted, count in zip(words, said, strict=True):
        assert count == wanted if wanted is not None else count > 1
    assert all(each.finished for each in runs) and demo.controller.waiting == ()
    assert not demo.setup.queue.isVisible() and demo.setup.run_button.isEnabled()
    assert notices(demo) == []
    # The words that are there can be looked at, and the same pair can be asked for again.
    if any(said):
        click_word(qtbot, demo.transcript.answer, 0)
        assert demo.workspace.reading is not None
    monkeypatch.setattr(generation, "record", record)
    before = len(runs)
    press(qtbot, demo.setup.run_pair_button)
    wait_idle(qtbot, demo)
    assert all(each.reason == "end" for each in demo.workspace.runs[before:])
    assert demo.workspace.runs[-1].teacher is not None
