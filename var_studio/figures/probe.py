"""Which scripts the fonts of this machine have; run in a process of its own by `doctor.probes`."""

from __future__ import annotations

from typing import Any

from var_studio.doctor.probes import step

SCRIPTS = {
    "Greek": "ατρφ",
    "Cyrillic": "жщя",
    "Chinese": "猫红圆",
    "Japanese": "ねこ",
    "Korean": "고양이",
    "Arabic": "قطة",
    "Hindi": "बिल",
}


def probe() -> dict[str, Any]:
    """For each script, whether some installed font has its letters."""
    step("PIL")
    import PIL.Image

    step("matplotlib")
    import matplotlib

    from var_studio.figures.fonts import fallbacks

    found = {name: bool(fallbacks(letters)) for name, letters in SCRIPTS.items()}
    return {
        "matplotlib": matplotlib.__version__,
        "pillow": PIL.__version__,
        "scripts": found,
    }
