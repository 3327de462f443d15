"""Whether a forecast fits: what counts against what, and in which words."""

from __future__ import annotations

import pytest

from var_studio.models import room
from var_studio.models.forecast import Forecast


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 KB"),
        (380_400, "380 KB"),
        (999_600, "1.0 MB"),
        (4_620_000, "4.6 MB"),
        (41_200_000, "41 MB"),
        (13_240_000_000, "13.2 GB"),
        (1_500_000_000_000, "1500.0 GB"),
    ],
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert room.in_words(size) == words


def _forecast(device: str = "cpu") -> Forecast:
    return Forecast(
        "toy", device, "float32", None, weights=1000, image_features=30, kv_cache=50,
        text_rows=100, working=20, recording=400,
    )  # fmt: skip


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_memory", lambda device: 1200 if device == "cpu" else 600)
    monkeypatch.setattr(room, "free_disk", lambda: 400)


def test_of_a_loaded_model_only_the_run_counts(little: None) -> None:
    memory, disk = room.fit(_forecast(), loaded=True).needs
    assert (memory.taken, memory.free) == (30 + 50 + 100 + 20, 1200)
    assert (disk.taken, disk.free, disk.fits) == (400, 400, True)
    whole = room.fit(_forecast())
    assert whole.needs[0].taken == 1200 and whole.shortages == ()


def test_contrast_keeps_the_keys_and_features_of_two_images(little: None) -> None:
    once = room.fit(_forecast()).needs[0].taken
    twice = room.fit(_forecast(), twice=True)
    assert twice.needs[0].taken == once + 50 + 30
    assert twice.shortages == ("it takes 1 KB of memory, and 1 KB are free",)


def test_a_gpu_has_its_own_memory_beside_ram(little: None) -> None:
    found = room.fit(_forecast("cuda"), loaded=True)
    assert [need.of for need in found.needs] == ["memory of cuda", "RAM", "disk"]
    gpu, ram, _ = found.needs
    # The rows lie there twice: as they are, and packed to be sent over.
    assert (gpu.taken, gpu.fits) == (300, True)
    assert (ram.taken, ram.free) == (200, 1200)


def test_what_is_free_on_this_machine() -> None:
    import shutil

    ram, disk = room.free_memory("cpu"), room.free_disk()
    assert ram is not None and 1 << 20 < ram < 1 << 50
    assert disk is not None and disk <= shutil.disk_usage("/").total * 100
    assert room.free_memory("no such device") is None
    assert room.devices()[0] == "auto" and room.devices()[-1] == "cpu"
