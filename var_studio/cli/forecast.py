"""``var-studio forecast``: what a model and a run will take, before either."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from var_studio.recording.settings import Generation

if TYPE_CHECKING:
    from var_studio.models.forecast import Forecast

_SIZE = re.compile(r"(\d+)\s*[x×]\s*(\d+)")


def show(
    model: str,
    images: tuple[str, ...],
    prompt: str,
    generation: Generation,
    as_json: bool,
    **loading: Any,
) -> None:
    """Print the forecast. `images`: files, or sizes such as 640x480. Raises VarStudioError."""
    from var_studio.models.forecast import forecast

    pictures = [image_or_size(image) for image in images] or None
    said = forecast(model, pictures, prompt, generation=generation, **loading)
    print(json.dumps(said.to_json(), indent=2) if as_json else in_words(said))


def image_or_size(image: str) -> str | tuple[int, int]:
    """A file as it is; "640x480" as (640, 480)."""
    size = _SIZE.fullmatch(image.strip())
    return image if size is None else (int(size[1]), int(size[2]))


def in_words(said: Forecast) -> str:
    """The forecast as lines of text."""
    precision = said.quantization or said.dtype
    lines = [f"{said.model}, {precision}, on {said.device}", f"Weights: {size(said.weights)}"]
    if said.n_prompt:
        lines += [
            f"A prompt of {said.n_prompt} tokens, {said.n_visual} of them visual, "
            f"and {said.n_new} new ones:",
            f"  keys and values {size(said.kv_cache)}, rows of the prompt {size(said.text_rows)}, "
            f"other {size(said.value_grams + said.image_features + said.working)}",
            f"Device memory in all: {size(said.device_memory)}",
            f"RAM: {size(said.ram)}" + (" (the same memory)" if said.device == "cpu" else ""),
            f"Disk: about {size(said.disk)}, if all {said.n_new} new tokens are used "
            f"(attention taken to compress to {said.compression:.0%}; a shorter answer takes less)",
            "What the libraries themselves take is not counted.",
        ]
    return "\n".join(lines)


def size(n_bytes: int) -> str:
    """Bytes in the unit that reads best."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"
