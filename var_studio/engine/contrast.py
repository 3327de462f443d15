"""Contrastive decoding (VCD, Leng et al. 2023; App. B.1): the image against a noised one.

Beside each pass of the run goes one of the plain model, with a cache of its own, whose prompt
shows the image after some steps of a diffusion. Its logits are those of language alone; the run's
own, pushed away from them, choose the token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from var_studio.recording.failures import SettingsError

if TYPE_CHECKING:
    import torch

    from var_studio.engine.capture import Capture
    from var_studio.models.loaded import LoadedModel
    from var_studio.recording.settings import Contrast

_PIXELS = "pixel_values"
_STEPS = 1000
# What a pass of `generate` has in place of pixels.
_FEATURES = "mm_encoder_outputs"
_TEXT = {"input_ids", "attention_mask"}


def kept_shares(noise_step: int) -> tuple[float, float]:
    """Factors of image and noise after steps 0 to `noise_step` of VCD's diffusion schedule.

    x_t = sqrt(a) x + sqrt(1 - a) noise, a = product of 1 - beta; the betas follow a sigmoid from
    1e-5 to 5e-3 over 1,000 steps. Returns (sqrt(a), sqrt(1 - a)).
    """
    import torch

    steps = torch.linspace(-6, 6, _STEPS, dtype=torch.float64)
    betas = torch.sigmoid(steps) * (0.5e-2 - 1e-5) + 1e-5
    kept = float((1 - betas).cumprod(0)[noise_step])
    return math.sqrt(kept), math.sqrt(1 - kept)


def noised(inputs: Mapping[str, torch.Tensor], settings: Contrast) -> dict[str, torch.Tensor]:
    """The pixels among the inputs of a prompt, noised: each floating "...pixel_values...".

    There are several where a model takes an image at two resolutions. The noise is drawn on the
    CPU in float32, so that a seed means the same on every device.
    Raises SettingsError for a prompt without pixels.
    """
    import torch

    image, noise = kept_shares(settings.noise_step)
    generator = torch.Generator().manual_seed(settings.seed)
    found = {}
    for name in sorted(inputs):
        pixels = inputs[name]
        if _PIXELS in name and pixels.is_floating_point():
            drawn = torch.randn(pixels.shape, generator=generator)
            mixed = image * pixels.float() + noise * drawn.to(pixels.device)
            found[name] = mixed.to(pixels.dtype)
    if not found:
        raise SettingsError(
            "Contrastive decoding needs pixels to noise, and this model takes none.",
            "Record without it.",
        )
    return found


class Contrasting:
    """The noised branch of one run, and the contrast of its logits with the run's own."""

    def __init__(
        self,
        lmm: LoadedModel,
        settings: Contrast,
        inputs: Mapping[str, torch.Tensor],
        capture: Capture,
    ) -> None:
        """`inputs` are those of the prompt, pixels included. Raises SettingsError."""
        self._model = lmm.hf_model
        self._settings = settings
        self._capture = capture
        self._noised = noised(inputs, settings)
        # `generate` takes away what it has encoded the image from; the text it hands on.
        self._visual = {n: value for n, value in inputs.items() if n not in _TEXT}
        self._cache: Any = None
        self.at_work = False
        """Whether the noised branch is passing through the model just now."""

    def logits(self, arguments: Mapping[str, Any], own: torch.Tensor) -> torch.Tensor:
        """Contrasted logits (V,) float32 of the run's pass that was called with `arguments`.

        (1 + a) own - a noised; -inf where a token's own probability is below the cut-off beta
        times the largest one.
        """

        own = own.float()
        strength, cutoff = self._settings.strength, self._settings.cutoff
        contrasted = own
        if strength > 0:
            contrasted = (1 + strength) * own - strength * self._noised_logits(arguments)
        if cutoff == 0:
            return contrasted
        # A NaN is not below: it stays and is told.
        return contrasted.masked_fill(own < own.amax() + math.log(cutoff), float("-inf"))

    def _noised_logits(self, arguments: Mapping[str, Any]) -> torch.Tensor:
        """The same pass on the noised image: positions and masks are the run's own."""
        call = {name: value for name, value in arguments.items() if name != _FEATURES}
        if self._cache is None:
            call = {**self._visual, **call, **self._noised}
        call["past_key_values"] = self._cache
        self.at_work = True
        try:
            with self._capture.muted():
                output = self._model(**call)
        finally:
            self.at_work = False
        self._cache = output.past_key_values
        logits: torch.Tensor = output.logits[0, -1].float()
        return logits
