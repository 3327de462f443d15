"""Images are encoded once: the vision tower's output is kept for the next run on the same images.

`transformers` takes it back as `mm_encoder_outputs`, what its own `generate` passes on after
encoding. Families whose forward pass knows no such argument encode at each run.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_PIXELS = "pixel_values"


class EncodedImages:
    """The last images that a model has encoded. Not for use while its vision tower is changed."""

    def __init__(self) -> None:
        self._of: dict[str, torch.Tensor] = {}
        self._outputs: Any = None

    def inputs(self, hf_model: Any, inputs: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """The inputs of a prompt with the features of its images in place of their pixels.

        The vision tower runs only if these are not the images of the call before. Where the model
        cannot take features, the inputs as they are. Call it in inference mode.
        """
        encode = getattr(hf_model.base_model, "get_image_features", None)
        takes_features = "mm_encoder_outputs" in inspect.signature(hf_model.forward).parameters
        if encode is None or not takes_features or _PIXELS not in inputs:
            return dict(inputs)
        wanted = inspect.signature(encode).parameters
        visual = {name: value for name, value in inputs.items() if name in wanted}
        if not self._are(visual):
            # Not both at a time.
            self.clear()
            outputs = encode(**visual, return_dict=True)
            for name in list(outputs):
                # Of every layer of the tower; no model asks for them later.
                if name.endswith(("hidden_states", "attentions")):
                    outputs[name] = None
            self._of, self._outputs = visual, outputs
        others = {name: value for name, value in inputs.items() if _PIXELS not in name}
        return {**others, "mm_encoder_outputs": {"image": self._outputs}}

    def clear(self) -> None:
        """Let go of the features."""
        self._of, self._outputs = {}, None

    def _are(self, visual: Mapping[str, torch.Tensor]) -> bool:
        if self._outputs is None or visual.keys() != self._of.keys():
            return False
        return all(_same(value, self._of[name]) for name, value in visual.items())


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    import torch

    return a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
