from __future__ import annotations

import pytest

from tests.synthetic import make_run
from var_studio.recording.recording import Recording


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """6 layers × 6 heads, an image of 5 × 8 cells: no square, so that swapped axes show."""
    folder = tmp_path_factory.mktemp("figures") / "run"
    return make_run(folder, rows=5, cols=8, queries=12, image_size=(320, 240))
