"""Settings refuse what cannot be meant, in a sentence; files still get pydantic's own word."""

from __future__ import annotations

import math
import pickle

import pytest
from pydantic import ValidationError

from var_studio.errors import VarStudioError
from var_studio.recording.failures import SettingsError
from var_studio.recording.settings import Generation, RecordingOptions, Redistribution, settled


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Generation, "temperature"),
        (Generation, "top_p"),
        (Redistribution, "tau"),
        (Redistribution, "rho"),
        (Redistribution, "p"),
        (Redistribution, "mass_min"),
    ],
)
def test_numbers_are_finite(kind, name, value):
    with pytest.raises(SettingsError, match=name):
        kind(**{name: value})
    with pytest.raises(ValidationError):
        kind.model_validate({name: value})


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (
            Generation,
            {"max_new_tokens": 0},
            "Max new tokens (max_new_tokens) is 0. Choose a whole number from 1 to 8192.",
        ),
        (
            Generation,
            {"top_p": 0},
            "Top-p (top_p) is 0. Choose a number above 0 and up to 1.",
        ),
        (
            Redistribution,
            {"rho": "x"},
            "ρ head threshold (rho) is 'x'. Choose a number from 0 to 1.",
        ),
        (
            Redistribution,
            {"tau": -1},
            "τ sink threshold (tau) is -1. Choose a number of at least 0, or None.",
        ),
        (
            Redistribution,
            {"convention": "papre"},
            "Convention (convention) is 'papre'. Choose 'paper' or 'released-code'.",
        ),
        (
            Redistribution,
            {"sink_dims": [3, "x"]},
            "Sink dimensions (sink_dims) is [3, 'x']. Choose whole numbers, or None.",
        ),
        (
            RecordingOptions,
            {"precison": "float32"},
            "RecordingOptions has no setting 'precison'. It has precision and top.",
        ),
    ],
)
def test_an_error_names_the_field_and_its_bounds(kind, given, said):
    with pytest.raises(SettingsError) as caught:
        kind(**given)
    assert str(caught.value) == said
    assert isinstance(caught.value, VarStudioError) and isinstance(caught.value, ValueError)
    assert isinstance(caught.value.__cause__, ValidationError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == said


def test_settings_stay_as_they_are():
    old = Redistribution(rho=0.5)
    with pytest.raises(SettingsError, match=r"Redistribution\(\*\*dict\(old\) \| {'rho': ...}\)"):
        old.rho = 0.7
    assert old == Redistribution(rho=0.5)
    assert Redistribution(**dict(old) | {"rho": 0.7}) == Redistribution(rho=0.7)


def test_a_long_value_is_cut():
    with pytest.raises(SettingsError) as caught:
        Redistribution(convention="x" * 5000)
    assert len(str(caught.value)) < 200


def test_files_still_learn_where_the_fault_is():
    """Sessions, figure files, the window and the command line read pydantic's error."""
    with pytest.raises(ValidationError) as caught:
        Redistribution.model_validate({"rho": 2})
    assert caught.value.errors()[0]["loc"] == ("rho",)
    with pytest.raises(ValidationError) as caught:
        Redistribution.model_validate_json('{"first_layer": 3, "last_layer": 2}')
    assert caught.value.errors()[0]["loc"] == ("last_layer",)


def test_a_layer_range_has_its_ends_in_order():
    assert Redistribution(first_layer=2, last_layer=2).last_layer == 2
    assert Redistribution(first_layer=9).last_layer is None
    with pytest.raises(SettingsError) as caught:
        Redistribution(first_layer=3, last_layer=2)
    assert str(caught.value) == (
        "Last layer (last_layer) is 2. It comes before the first layer, 3: no layer would change."
    )


def test_settings_may_be_given_as_a_dict():
    assert settled(Generation, None, "generation") == Generation()
    assert settled(Generation, {"max_new_tokens": 5}, "generation") == Generation(max_new_tokens=5)
    given = Redistribution(rho=0.5)
    assert settled(Redistribution, given, "intervention") == given
    with pytest.raises(SettingsError, match="Choose a whole number from 1 to 8192"):
        settled(Generation, {"max_new_tokens": 0}, "generation")
    for wrong in (5, "greedy", Redistribution(), [("seed", 1)], Generation):
        with pytest.raises(SettingsError, match="generation takes a Generation"):
            settled(Generation, wrong, "generation")
    with pytest.raises(SettingsError, match="no setting 1"):
        settled(Generation, {1: 2}, "generation")


def test_a_copy_that_nobody_checked_is_checked():
    for settings in (
        Redistribution().model_copy(update={"tau": math.inf}),
        Redistribution().model_copy(update={"heads": "some"}),
    ):
        with pytest.raises(SettingsError):
            settled(Redistribution, settings, "intervention")
