"""Images are encoded once: the vision tower's output is kept for the next run on the same images.

`transformers` takes it back as `mm_encoder_outputs`, what its own `generate` passes on after
encoding. Of models whose forward pass knows no such argument (Mllama), the tower itself answers
from memory while a run lasts.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
        if encode is None or not _takes_features(hf_model) or _PIXELS not in inputs:
            return dict(inputs)
        wanted = inspect.signature(encode).parameters
        visual = {name: value for name, value in inputs.items() if name in wanted}
        if not self._are(visual):
            # Not both at a time.
            self.clear()
            self._of, self._outputs = visual, _needed(encode(**visual, return_dict=True))
        others = {name: value for name, value in inputs.items() if _PIXELS not in name}
        return {**others, "mm_encoder_outputs": {"image": self._outputs}}

    @contextmanager
    def remembered(self, hf_model: Any, inputs: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """While the block runs, `vision_model` answers from memory for the images of `inputs`.

        It runs only if these are not the images of the block before, and for other pixels. Of
        models that take features, and of those without such a tower, nothing changes. Use it in
        inference mode.
        """
        tower = getattr(hf_model.base_model, "vision_model", None)
        if tower is None or _takes_features(hf_model) or _PIXELS not in inputs:
            yield
            return
        wanted = inspect.signature(tower.forward).parameters
        visual = {name: value for name, value in inputs.items() if name in wanted}
        encode, own = tower.forward, vars(tower).get("forward")

        def forward(**given: Any) -> Any:
            if not _alike(given, visual):
                return encode(**given)
            if not self._are(visual):
                self.clear()
                self._of, self._outputs = visual, _needed(encode(**given))
            return self._outputs

        tower.forward = forward
        try:
            yield
        finally:
            # Accelerate puts a forward of its own on the module.
            if own is None:
                del tower.forward
            else:
                tower.forward = own

    def clear(self) -> None:
        """Let go of the features."""
        self._of, self._outputs = {}, None

    def _are(self, visual: Mapping[str, torch.Tensor]) -> bool:
        return self._outputs is not None and _alike(visual, self._of)


def _takes_features(hf_model: Any) -> bool:
    return "mm_encoder_outputs" in inspect.signature(hf_model.forward).parameters


def _needed(outputs: Any) -> Any:
    """Outputs of a tower without those of each of its layers; no model asks for them later."""
    for name in list(outputs):
        if name.endswith(("hidden_states", "attentions")):
            outputs[name] = None
    return outputs


def _alike(these: Mapping[str, torch.Tensor], those: Mapping[str, torch.Tensor]) -> bool:
    if these.keys() != those.keys():
        return False
    return all(_same(value, those[name]) for name, value in these.items())


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    import torch

    return a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
