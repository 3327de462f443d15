"""What acts on attention never waits for the device: nothing is read back, nothing is copied."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import var_studio as vs
from tests.device_waits import waiting
from var_studio.engine.interventions import Acts, build
from var_studio.recording.interventions import interventions_from

LAYERS, HEADS, PROMPT, LENGTH, D = 3, 4, 30, 34, 16
VISUAL = range(5, 21)

CASES: dict[str, Any] = {
    "redistribution": vs.Redistribution(target="both", source="text"),
    "released code": vs.Redistribution(convention="released-code"),
    "region": vs.Redistribution(target="region", region=(2, 3, 9)),
    "visual sinks": vs.Knockout(),
    "random visual": vs.Knockout(tokens="random-visual", seed=3),
    "chosen": vs.Knockout(tokens="chosen", positions=(0, 8)),
    "image-centric": vs.HeadAblation(),
    "random heads": vs.HeadAblation(heads="random", seed=3),
    "complement": vs.HeadAblation(heads="complement", convention="released-code"),
    "both": [vs.Knockout(), vs.Redistribution()],
}


def built(case: str, visual: torch.Tensor) -> Acts:
    acts = build(
        interventions_from(CASES[case]),
        tau_default=1.5,
        sink_dims=(3, 7),
        n_layers=LAYERS,
        visual=visual,
        visual_positions=VISUAL,
        prompt_length=PROMPT,
    )
    assert acts is not None and any(acts.active)
    return acts


def mask() -> torch.Tensor:
    visual = torch.zeros(LENGTH, dtype=torch.bool)
    visual[list(VISUAL)] = True
    return visual


def go_through(acts: Acts, device: str) -> list[torch.Tensor]:
    """A prefill and a few steps; what is added to the rows."""
    return list(changes(acts, device).values())


def changes(acts: Acts, device: str = "cpu") -> dict[tuple[int, int], torch.Tensor]:
    """The same by layer and position, the prompt's by -1."""
    found = {}
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    positions = torch.arange(22, PROMPT, device=device)
    for layer in range(LAYERS):
        acts.observe(layer, 0, drawn(PROMPT, D))
        if acts.active[layer]:
            rows = torch.softmax(3 * drawn(HEADS, len(positions), PROMPT), -1)
            found[layer, -1] = acts.change(layer, rows, 0, positions)
    for position in range(PROMPT, LENGTH):
        for layer in range(LAYERS):
            acts.observe(layer, position, drawn(1, D))
            if acts.active[layer]:
                rows = torch.softmax(3 * drawn(HEADS, 1, position + 1), -1)
                change = acts.step_change(layer, rows, 0, position)
                if change is not None:
                    found[layer, position] = change
    return found


@pytest.mark.parametrize("case", [case for case in CASES if case != "released code"])
def test_everything_works_on_a_device_that_holds_no_numbers(case: str) -> None:
    """On the meta device nothing can be read back: whoever tries, raises."""
    for change in go_through(built(case, mask().to("meta")), "meta"):
        assert change.device.type == "meta" and change.dtype == torch.float32


@pytest.mark.parametrize("case", CASES)
def test_no_operation_waits(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from var_studio.engine import interventions, redistributor

    # As on an accelerator: steps in torch.
    for module in (interventions, redistributor):
        monkeypatch.setattr(module, "steps_in_numpy", lambda device: False)
    acts = built(case, mask())
    assert waiting(lambda: go_through(acts, "cpu")) == []


@pytest.mark.parametrize("case", CASES)
def test_steps_in_numpy_are_those_in_torch(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from var_studio.engine import interventions, redistributor

    by_number: list[dict[tuple[int, int], torch.Tensor]] = []
    for in_numpy in (True, False):
        for module in (interventions, redistributor):
            monkeypatch.setattr(module, "steps_in_numpy", lambda device, use=in_numpy: use)
        by_number.append(changes(built(case, mask())))
    fast, plain = by_number
    assert any((change != 0).any() for change in plain.values())
    for step, change in plain.items():
        # None: it is known for free that nothing changes.
        found = fast.get(step, torch.zeros_like(change))
        torch.testing.assert_close(found, change, atol=2e-7, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_rows_keep_their_sum(case: str) -> None:
    found = go_through(built(case, mask()), "cpu")
    assert any((change != 0).any() for change in found)
    for change in found:
        assert change.sum(-1).abs().max() < 1e-5
