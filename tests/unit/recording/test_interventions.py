"""What can be done to a run: which settings go together, and how they are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.errors import VarStudioError
from var_studio.recording.interventions import (
    check_combination,
    interventions_from,
    method_settings,
    on_attention,
    run_name_for,
)
from var_studio.recording.session import open_session
from var_studio.recording.settings import Contrast, HeadAblation, Knockout, Redistribution

OLD = Path(__file__).parent / "old"


@pytest.mark.parametrize(
    "given",
    [
        [Redistribution()],
        [HeadAblation()],
        [Knockout()],
        [Contrast()],
        [Knockout(), Redistribution()],
        [Contrast(), Redistribution()],
        [Contrast(), HeadAblation()],
        [Redistribution(), Contrast(), Knockout()],
    ],
    ids=run_name_for,
)
def test_what_goes_together_comes_in_the_order_in_which_it_acts(given):
    found = check_combination(given)
    assert set(found) == set(given) and len(found) == len(given)
    order = ["knockout", "head-ablation", "redistribution", "contrast"]
    assert [each.kind for each in found] == sorted((each.kind for each in given), key=order.index)
    assert on_attention(found) == tuple(e for e in found if not isinstance(e, Contrast))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([Redistribution(), Redistribution(p=0.1)], "Two interventions of the kind 'redistribu"),
        ([Contrast(), Contrast(seed=1)], "Two interventions of the kind 'contrast'"),
        ([HeadAblation(), Redistribution()], "Head ablation does not go with redistribution"),
        ([Knockout(), HeadAblation()], "Head ablation does not go with knockout"),
        ([Knockout(sink_dims=(3,)), Redistribution()], "different sink dimensions"),
        (["redistribution"], "takes a Redistribution, not str"),
        (5, "takes a Redistribution, not int"),
        ({"kind": "knockout", "p": 0.5}, "Knockout has no setting 'p'"),
        ({"kind": ["knockout"]}, "no intervention of the kind"),
        ([{"kind": "knockout", "tau": -1}], "tau"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_with_a_reason(given, reason):
    with pytest.raises(VarStudioError, match=reason):
        interventions_from(given)


def test_interventions_may_be_given_as_dicts():
    assert interventions_from(None) == () and interventions_from([]) == ()
    assert interventions_from({}) == (Redistribution(),)
    assert interventions_from({"kind": "contrast", "strength": 2}) == (Contrast(strength=2),)
    assert interventions_from([{"p": 0.1}, Knockout()]) == (Knockout(), Redistribution(p=0.1))
    copy = HeadAblation().model_copy(update={"rho": 7.0})
    with pytest.raises(VarStudioError, match="rho"):
        interventions_from(copy)


@pytest.mark.parametrize("kind", [Redistribution, Knockout, HeadAblation, Contrast])
def test_settings_can_be_taken_apart_and_made_again(kind):
    assert kind(**dict(kind())) == kind() and kind.model_validate(kind().model_dump()) == kind()


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (Redistribution, {"target": "region"}, "name the visual tokens"),
        (Redistribution, {"region": (1,)}, "only for target='region'"),
        (Redistribution, {"target": "region", "region": (1, -1)}, "Choose whole numbers"),
        (Redistribution, {"target": "far", "region": (1,)}, "Choose 'visual', 'text'"),
        (Knockout, {"tokens": "chosen"}, "name the positions"),
        (Knockout, {"positions": (4,)}, "only for tokens='chosen'"),
        (Knockout, {"first_layer": 3, "last_layer": 2}, "before the first layer, 3"),
        (HeadAblation, {"heads": "all"}, "Choose 'image-centric', 'random' or 'complement'"),
        (Contrast, {"noise_step": 1000}, "from 0 to 999"),
    ],
)
def test_a_field_that_needs_another_says_so(kind, given, said):
    with pytest.raises(VarStudioError, match=said):
        kind(**given)


def test_the_settings_of_the_method_are_those_that_the_interventions_share_with_it():
    own = Redistribution(tau=3, p=0.1)
    assert method_settings([Knockout(tau=9), own, Contrast()]) == own
    ablation = HeadAblation(tau=4, rho=0.3, mass_min=0.1, convention="released-code")
    expected = Redistribution(tau=4, rho=0.3, mass_min=0.1, convention="released-code")
    assert method_settings([ablation]) == expected
    assert method_settings([Knockout(tau=5, last_layer=0)]) == Redistribution(tau=5)
    assert method_settings([]) == method_settings([Contrast()]) == Redistribution()


def test_a_recording_keeps_its_interventions(tmp_path):
    given = [Contrast(seed=3), Knockout(tokens="chosen", positions=(2, 1)), Redistribution(rho=0.3)]
    run = make_run(tmp_path / "run", intervention=given)
    assert [each.kind for each in run.interventions] == ["knockout", "redistribution", "contrast"]
    assert run.interventions[0].positions == (1, 2)
    assert run.redistribution == Redistribution(rho=0.3)
    assert make_run(tmp_path / "plain").redistribution is None


def test_a_session_of_schema_1_opens(tmp_path):
    """A file that version 0.1.0 wrote, when a run knew one intervention or none."""
    with open_session(OLD / "schema_1.vars") as session:
        baseline, changed = session.runs
        assert baseline.interventions == () and baseline.redistribution is None
        own = Redistribution(tau=1.6, rho=0.6, mass_min=0.1, sink_dims=(5, 17), target="both")
        assert changed.interventions == (own,) and changed.redistribution == own
        assert [t.id for t in changed.tokens][-4:] == [29, 205, 205, 205]
        # As the version that wrote it computed it.
        moved = np.abs(changed.redistributed(3) - changed.attention(3)).max()
        assert moved == pytest.approx(0.09774944931268692)
        assert np.array_equal(changed.intervened(3), changed.redistributed(3))
        assert np.array_equal(baseline.intervened(3), baseline.attention(3))
        assert len(changed.images) == 1
