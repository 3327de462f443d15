"""The window on session files that say nonsense: it opens the runs, or says why not; never less."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from tests.fuzzing.mutations import chunk, members_of, mutate, odd_like, one_field, packed
from tests.fuzzing.seeds import make_seeds, view_of
from tests.gui.fixtures import IGNORE_QT, notices, settle
from var_studio.gui.main_window import MainWindow
from var_studio.recording.failures import SessionError
from var_studio.recording.session import open_session, save_session

pytestmark = [IGNORE_QT, pytest.mark.filterwarnings("ignore::RuntimeWarning")]
CASES = int(os.environ.get("VAR_STUDIO_FUZZ_CASES", "8"))
"""More, by hand, after a change of what the window reads from a file."""


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return make_seeds(tmp_path_factory.mktemp("seeds"))


def every_panel(qtbot: QtBot, window: MainWindow) -> None:
    """Bring each panel to the front, and let it paint."""
    for name in window.area.docks:
        window.area.reveal(name)
        settle(qtbot)
        window.area.panel(name).grab()


def shows_runs(window: MainWindow, path: Path) -> None:
    with open_session(path) as session:
        assert [run.id for run in window.workspace.runs] == [run.id for run in session.runs]


def odd_views(view: dict[str, object]) -> list[dict[str, object]]:
    """Each field of the view with odd values in its place, and the view's own parts likewise."""
    rng = np.random.default_rng(5)
    found: list[dict[str, object]] = [{}, {"run": [1]}, {"view": [], "heads": 3}]
    for case in range(CASES * 4):
        odd = dict(view)
        for _ in range(1 + case % 3):
            name = str(rng.choice(list(odd)))
            odd[name] = odd_like(odd[name], rng)
            part = odd.get("view")
            if isinstance(part, dict) and part:
                field = str(rng.choice(list(part)))
                odd["view"] = {**part, field: odd_like(part[field], rng)}
        found.append(odd)
    for field, value in (
        ("opacity", 1e300),
        ("opacity", -1),
        ("gamma", 0),
        ("gamma", -3.0),
        ("gamma", 1e300),
        ("colour_map", "no such map"),
        ("difference_map", ""),
        ("head_value", "no such value"),
        ("head_value", "cells"),
        ("colour_by", "reverse"),
        ("brush", 10**9),
    ):
        found.append({**view, "view": {**view["view"], field: value}})  # type: ignore[dict-item]
    big = 10**30
    found += [{**view, name: big} for name in ("token", "layer")]
    found += [{**view, "cells": [big, -big]}, {**view, "heads": [[big, 0], [0, -1], [1.5, 0]]}]
    return found


def test_views_of_nonsense(
    qtbot: QtBot, window: MainWindow, seeds: list[bytes], tmp_path: Path
) -> None:
    """The runs are shown whatever the view says, and what it says of value is kept."""
    sound = tmp_path / "sound.vars"
    sound.write_bytes(seeds[0])
    with open_session(sound) as session:
        view = view_of(session.runs[0])
        files = []
        for number, odd in enumerate(odd_views(view)):
            path = tmp_path / f"{number}.vars"
            try:
                files.append(save_session(path, list(session.runs), view=odd))
            except SessionError:
                continue  # NaN: no file can say it
    for number, path in enumerate(files):
        assert window.files.open(path), notices(window)
        shows_runs(window, path)
        settle(qtbot)
        if number % 6 == 0:
            every_panel(qtbot, window)
    assert window.files.open(sound) and notices(window) == []
    assert window.workspace.view.current.opacity == 0.65


def test_content_of_nonsense(
    qtbot: QtBot, window: MainWindow, seeds: list[bytes], tmp_path: Path
) -> None:
    """Runs with impossible numbers and fields: shown as far as they go, in every panel."""
    opened, path = 0, tmp_path / "case.vars"
    for case in range(CASES):
        rng = np.random.default_rng([11, case])
        members = members_of(seeds[case % len(seeds)])
        chunk(members, rng)
        if case % 2:
            one_field(members, rng)
        path = tmp_path / f"{case}.vars"
        path.write_bytes(packed(members))
        before = list(window.workspace.runs)
        if window.files.open(path):
            opened += 1
            shows_runs(window, path)
            every_panel(qtbot, window)
        else:
            assert notices(window) and window.workspace.runs == before
    assert opened > CASES // 3


def test_files_of_nonsense(window: MainWindow, seeds: list[bytes], tmp_path: Path) -> None:
    """What cannot be opened is told in a notice, and the session on screen stays."""
    present = tmp_path / "present.vars"
    present.write_bytes(seeds[0])
    assert window.files.open(present)
    refused = 0
    for case in range(CASES * 3):
        path = tmp_path / f"{case}.vars"
        path.write_bytes(mutate(seeds[0], np.random.default_rng([13, case])))
        before = list(window.workspace.runs), window.workspace.reading
        if not window.files.open(path):
            refused += 1
            assert notices(window)
            assert (window.workspace.runs, window.workspace.reading) == before
    assert refused > CASES // 2


def test_a_view_may_name_what_the_panels_offer() -> None:
    """The names that are read from files are those of the choosers, each of them."""
    from typing import get_args, get_type_hints

    from var_studio.gui.models.view import ViewSettings
    from var_studio.gui.panels.head_values import BY_KEY
    from var_studio.gui.widgets.colour_maps import DIVERGING, SEQUENTIAL

    kinds = get_type_hints(ViewSettings)
    assert set(get_args(kinds["colour_map"])) == set(SEQUENTIAL)
    assert set(get_args(kinds["difference_map"])) == set(DIVERGING)
    assert set(get_args(kinds["head_value"])) == set(BY_KEY)
