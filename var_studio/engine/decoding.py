"""How tokens are chosen: the arguments of `generate`, and what watches its choices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from var_studio.models.loaded import LoadedModel
    from var_studio.recording.settings import Generation


def generate_arguments(
    lmm: LoadedModel, generation: Generation, max_new_tokens: int
) -> dict[str, Any]:
    """Arguments of `generate` for our settings; the checkpoint's own sampling is left out."""
    arguments: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "do_sample": generation.sampled,
        "num_beams": 1,
        "use_cache": True,
    }
    if generation.sampled:
        arguments |= {"temperature": generation.temperature, "top_p": generation.top_p, "top_k": 0}
    else:
        arguments |= {"temperature": None, "top_p": None, "top_k": None}
    if lmm.hf_model.generation_config.pad_token_id is None:
        # `generate` takes the end token then, and says so on the console each time.
        ends = end_tokens(lmm)
        arguments["pad_token_id"] = min(ends) if ends else 0
    return arguments


def end_tokens(lmm: LoadedModel) -> frozenset[int]:
    """Ids of the tokens that end an answer."""
    ends = lmm.hf_model.generation_config.eos_token_id
    if ends is None:
        return frozenset()
    return frozenset(ends if isinstance(ends, list | tuple) else [ends])


class Forced:
    """A logits processor that leaves the model no choice but the tokens of a given answer."""

    def __init__(self, answer: Sequence[int], prompt_length: int) -> None:
        self._answer = answer
        self._prompt_length = prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        forced = torch.full_like(scores, float("-inf"))
        forced[:, self._answer[input_ids.shape[1] - self._prompt_length]] = 0.0
        return forced


class Watch:
    """A stopping criterion that sees each chosen token; stops where told to."""

    def __init__(self, chosen: Callable[[int], bool]) -> None:
        self._chosen = chosen
        self._answer: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        import torch

        stop = self._chosen(int(input_ids[0, -1]))
        if self._answer is None or stop:
            self._answer = torch.full((1,), stop, dtype=torch.bool, device=input_ids.device)
        return self._answer


@contextmanager
def seeded(lmm: LoadedModel, generation: Generation) -> Iterator[None]:
    """Sample from the settings' seed and leave the caller's random state as it was."""
    import torch

    devices = [lmm.device] if lmm.device.type == "cuda" else []
    with torch.random.fork_rng(devices, enabled=generation.sampled):
        if generation.sampled:
            torch.manual_seed(generation.seed)
        yield
