from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.synthetic import make_run
from var_studio.recording.recording import Recording


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 layers × 6 heads, an image of 5 × 8 cells: no square, so that swapped axes show."""
    folder = tmp_path_factory.mktemp("figures") / "run"
    make_run(folder, rows=5, cols=8, queries=12, image_size=(320, 240)).close()
    return folder


@pytest.fixture
def run(recorded: Path) -> Iterator[Recording]:
    """Opened anew: a recording keeps what it derived, and some tests put another layout on it."""
    run = Recording.open(recorded)
    yield run
    run.close()
