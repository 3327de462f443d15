"""Sink dimensions of a model that nobody has named them for: one prefill, nothing generated."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from var_studio.analysis.discovery import Discovery, find_sink_dims
from var_studio.engine.arguments import check_model
from var_studio.engine.capture import Capture

if TYPE_CHECKING:
    from var_studio.models.loaded import Encoded, LoadedModel


def discover(lmm: LoadedModel, image: Any, prompt: str) -> Discovery:
    """Find the sink dimensions of a model from one image and prompt.

    Leaves `lmm.sink_dims` as they are: see `adopt`. Raises what `LoadedModel.encode` raises, and
    ModelBusyError during a run, NotLoadedError for anything but a loaded model.
    """
    check_model(lmm)
    with lmm.in_use():
        return measure(lmm, lmm.encode(image, prompt))


def measure(
    lmm: LoadedModel,
    encoded: Encoded,
    *,
    cancel: threading.Event | None = None,
    on_layer: Callable[[int], None] | None = None,
) -> Discovery:
    """Run the prompt through the model once and look at the largest dimensions."""
    import torch

    capture = Capture(
        lmm,
        sink_dims=(),
        prompt_length=encoded.length,
        rows_wanted=False,
        cancel=cancel,
        on_layer=on_layer,
        cross=encoded.cross,
    )
    images = lmm.encoded_images
    with (
        torch.inference_mode(),
        capture.attached(),
        images.remembered(lmm.hf_model, encoded.inputs),
    ):
        inputs = images.inputs(lmm.hf_model, encoded.inputs)
        lmm.hf_model(**inputs, use_cache=False, logits_to_keep=1)
        seen, _ = capture.collect()
    return find_sink_dims(seen.top_dims, seen.top_values, lmm.hidden_size)


def adopt(lmm: LoadedModel, found: Discovery) -> None:
    """Take discovered dimensions as the model's own. None found: runs go on without sinks."""
    lmm.sink_dims = found.dims
    lmm.sink_dims_origin = "discovered" if found.dims else "none found"
    lmm.sink_dims_source = "massive at BOS over most middle layers"
