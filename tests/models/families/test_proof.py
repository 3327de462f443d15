"""What is recorded and shown of every family is what the model did, and where it looked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import var_studio as vs
from tests.models import slow_loop
from tests.models.families import kit
from tests.models.families.cases import CASES
from tests.models.families.kit import DIMS, QUESTION
from var_studio.recording.tokens import Exchange

Get = Callable[[str], Any]
PICTURE = Image.fromarray(kit.noise(150, 100))
STEPS = 5

every_case = pytest.mark.parametrize("name", CASES)
with_phi = pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.phi])
with_places = pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.known])
with_means = pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.means])


def recorded(
    lmm: Any, folder: Path, image: Any = PICTURE, **options: Any
) -> tuple[Any, torch.Tensor]:
    """A greedy run and its raw logits (steps + closing, V)."""
    seen: list[torch.Tensor] = []
    hook = lmm.hf_model.register_forward_hook(
        lambda module, args, output: seen.append(output.logits[0, -1].float().clone())
    )
    try:
        run = vs.record(
            lmm,
            image,
            QUESTION,
            generation=vs.Generation(max_new_tokens=STEPS),
            directory=folder,
            **options,
        )
    finally:
        hook.remove()
    return run, torch.stack(seen)


@every_case
def test_rows_are_those_of_eager_attention(family: Get, tmp_path: Path, name: str) -> None:
    """Every recorded row, of the prompt and of each step, against `output_attentions`."""
    lmm = family(name)
    run, _ = recorded(lmm, tmp_path / "run")
    encoded = lmm.encode(PICTURE, QUESTION)
    rows = kit.Rows(CASES[name], lmm, encoded)
    with kit.kernel(lmm.hf_model, "eager"), torch.inference_mode():
        plain = kit.plain_generate(
            lmm, encoded, len(run.generated_positions), output_attentions=True
        )
    said = plain.sequences[0, rows.prompt_length :].tolist()
    assert said == [run.tokens[p].id for p in run.generated_positions]

    checked = 0
    for query, position in enumerate(run.query_positions):
        step = max(0, position - run.prompt_length + 1)
        if step >= len(plain.attentions):
            continue  # the closing row, which `generate` does not compute
        ours = run.attention(query)
        assert ours.shape[0] == len(plain.attentions[step])
        for layer, weights in enumerate(plain.attentions[step]):
            here = rows.of_model(position)
            row = weights[0, :, here if step == 0 else 0].float().numpy()
            end = rows.prompt_length if step == 0 else here + 1
            expected = rows.recorded(layer, row, end, ours.shape[-1])
            np.testing.assert_allclose(ours[layer], expected, atol=1e-5)
            np.testing.assert_allclose(ours[layer].sum(-1), 1, atol=1e-5)
        checked += 1
    text = [t.position for t in run.tokens if t.role in ("prompt", "generated")]
    assert run.query_positions.tolist() == text
    assert checked == len(text) - 1 > STEPS
    # Attention far from uniform, or the comparison would show little.
    assert run.attention(0).std() > 1e-3


@every_case
def test_recording_changes_nothing(family: Get, tmp_path: Path, name: str) -> None:
    """Ids and logits of plain `generate`, bit for bit, on the same kernel."""
    lmm = family(name)
    run, logits = recorded(lmm, tmp_path / "run")
    with torch.inference_mode():
        encoded = lmm.encode(PICTURE, QUESTION)
        plain = kit.plain_generate(lmm, encoded, STEPS + 1)
    said = [t.id for t in run.tokens if t.role == "generated"]
    assert said == plain.sequences[0, encoded.input_length :].tolist()[: len(said)]
    assert len(logits) == len(said) + 1
    # One step more than ours: the closing pass is the step that would come next.
    for ours, theirs in zip(logits, plain.logits, strict=False):
        assert torch.equal(ours, theirs[0].float())
    fidelity = run.provenance["fidelity"]
    assert fidelity["worst_difference"] < 1e-4
    assert fidelity["worst_attention_difference"] < 1e-5


@with_phi
def test_phi_is_that_of_the_layers_inputs(family: Get, tmp_path: Path, name: str) -> None:
    lmm = family(name)
    inputs: dict[int, list[np.ndarray]] = {}

    def keep(index: int) -> Any:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            x = args[0] if args else kwargs["hidden_states"]
            inputs.setdefault(index, []).append(x[0].double().numpy())

        return hook

    run, _ = recorded(lmm, tmp_path / "run")
    handles = [
        layer.register_forward_pre_hook(keep(i), with_kwargs=True)
        for i, layer in enumerate(lmm.decoder_layers)
    ]
    try:
        with torch.inference_mode():
            kit.plain_generate(lmm, lmm.encode(PICTURE, QUESTION), STEPS)
    finally:
        for handle in handles:
            handle.remove()
    for layer, parts in inputs.items():
        x = np.concatenate(parts)
        phi = np.abs(x[:, DIMS]).max(-1) / np.sqrt((x**2).mean(-1))
        np.testing.assert_allclose(run.phi(layer)[: len(x)], phi, rtol=1e-4, atol=1e-4)


@with_phi
def test_var_is_the_slow_loop(family: Get, tmp_path: Path, name: str) -> None:
    """Redistribution inside the model = plain NumPy from the equations, several steps."""
    lmm, case = family(name), CASES[name]
    settings = vs.Redistribution(**case.var)
    run, logits = recorded(lmm, tmp_path / "run", intervention=settings)
    encoded = lmm.encode(PICTURE, QUESTION)
    method = slow_loop.Method(
        visual=np.flatnonzero(encoded.layout.mask(encoded.length)).tolist(),
        text=[t.position for t in run.tokens if t.role in ("prompt", "generated")],
        prompt_length=run.prompt_length,
        n_layers=lmm.n_layers,
        sink_dims=settings.sink_dims,
        tau=settings.tau,
        rho=settings.rho,
        p=settings.p,
        mass_min=settings.mass_min,
    )
    said = [run.tokens[p].id for p in run.generated_positions]
    expected = slow_loop.logits_of_steps(lmm.hf_model, encoded.inputs, method, said).numpy()
    assert method.rows_changed > 0, "nothing was redistributed: the test would show nothing"
    assert method.rows_kept > 0, "every head was selected: the test would show little"
    steps = logits[: len(said)].numpy()
    np.testing.assert_allclose(steps, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))

    _, plain = recorded(
        lmm, tmp_path / "plain", intervention=settings.model_copy(update={"p": 0.0})
    )
    with torch.inference_mode():
        off = kit.plain_generate(lmm, encoded, STEPS).logits
    for ours, theirs in zip(plain, off, strict=False):
        assert torch.equal(ours, theirs[0].float()), "p = 0 is the plain model"
    # Negative control: without the method the first logits are clearly others.
    assert np.abs(steps[0] - off[0][0].numpy()).max() > 1e-3


@with_places
def test_painting_a_box_changes_its_token_most(family: Get, name: str) -> None:
    """And fails for a transposed and for a shifted map."""
    lmm, case = family(name), CASES[name]
    rng = np.random.default_rng(0)
    controls = {"transposed": [0, 0], "shifted": [0, 0]}
    with kit.without_mixing(case, lmm.hf_model):
        for size in case.dye_sizes:
            pixels = kit.noise(*size)
            encoded = lmm.encode(Image.fromarray(pixels), "?")
            layout = encoded.layout
            assert layout.known
            if case.views is not None:
                assert len(layout.views) == case.views(lmm, size)
            before = kit.embedded(case, lmm, encoded)
            picked = rng.permutation(len(layout.views))[:3]
            for view in [layout.views[i] for i in sorted(picked)]:
                whole = kit.well_inside(layout, view)
                chosen = rng.permutation(whole)[:4].tolist()
                assert chosen, (size, view.name)
                for token in chosen:
                    hit = kit.dye_hit(
                        case, lmm, pixels, before, layout, view, token, layout.boxes[token]
                    )
                    assert hit, (size, view.name, layout.cell_of(token))
                grid = view.tokens
                wrong = {
                    "transposed": grid.T.reshape(grid.shape),
                    "shifted": np.roll(grid, 1, axis=int(view.cols > 1)),
                }
                for kind, other in wrong.items():
                    place = dict(zip(grid.ravel().tolist(), other.ravel().tolist(), strict=True))
                    for token in chosen[:2]:
                        box = layout.boxes[place[token]]
                        if place[token] == token or place[token] < 0 or np.isnan(box).any():
                            continue
                        controls[kind][0] += 1
                        controls[kind][1] += kit.dye_hit(
                            case, lmm, pixels, before, layout, view, token, box
                        )
    for kind, (tried, hits) in controls.items():
        assert tried >= 2 and hits == 0, (kind, tried, hits)


@pytest.mark.slow
@with_means
def test_centres_are_where_the_colours_say(family: Get, tmp_path: Path, name: str) -> None:
    """Error at most 0.02 of a cell over at least 60 image sizes."""
    case = CASES[name]
    lmm = family(name) if case.fine is None else vs.load_model(case.fine(tmp_path))
    judged = 0
    for size in case.coordinate_sizes or kit.default_sizes():
        worst, tokens = kit.worst_centre_error(case, lmm, size)
        assert worst <= 0.02, (size, worst)
        judged += tokens > 0
    assert judged >= 60


@every_case
def test_several_images_have_views_of_their_own(family: Get, tmp_path: Path, name: str) -> None:
    lmm, case = family(name), CASES[name]
    if not case.multi_image:
        with pytest.raises(vs.VarStudioError, match="one image"):
            lmm.encode([PICTURE, PICTURE], QUESTION)
        return
    other = Image.fromarray(kit.noise(90, 130, seed=5))
    run, _ = recorded(lmm, tmp_path / "run", image=[PICTURE, other])
    np.testing.assert_allclose(run.attention(0).sum(-1), 1, atol=1e-5)
    assert run.layout.image_sizes == (PICTURE.size, other.size)
    assert {view.image for view in run.layout.views} == ({0, 1} if case.known else set())
    if not case.alone:
        return
    alone = [lmm.encode(image, QUESTION).layout for image in (PICTURE, other)]
    assert run.layout.count == sum(layout.count for layout in alone)
    for image, layout in enumerate(alone):
        views = [view for view in run.layout.views if view.image == image]
        offset = alone[0].count if image else 0
        assert len(views) == len(layout.views)
        for ours, theirs in zip(views, layout.views, strict=True):
            assert ours.box == pytest.approx(theirs.box)
            shifted = np.where(theirs.tokens >= 0, theirs.tokens + offset, -1)
            np.testing.assert_array_equal(ours.tokens, shifted)


@every_case
def test_a_follow_up_question_knows_its_turn(family: Get, name: str) -> None:
    lmm = family(name)
    history = [Exchange("what is it?", "a red circle"), Exchange("and now?", "nothing")]
    tokens = lmm.encode(PICTURE, "is that so?", history).tokens
    said = ["".join(t.text for t in tokens if t.turn == k and not t.special) for k in range(3)]
    assert "what is it?" in said[0] and "a red circle" in said[0] and "and now" not in said[0]
    assert "and now?" in said[1] and "nothing" in said[1] and "red" not in said[1]
    assert "is that so?" in said[2] and "nothing" not in said[2]
    assert {t.turn for t in tokens if t.role in ("visual", "system")} == {0}
