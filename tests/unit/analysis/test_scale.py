from __future__ import annotations

import numpy as np
import pytest

from var_studio.analysis.scale import Limits, full_limits, robust_limits, symmetric_limits


def test_full_limits_start_at_zero_or_at_the_smallest():
    values = np.array([0.2, 0.5, np.nan])
    assert full_limits(values) == Limits(0.0, 0.5)
    assert full_limits(values, np.array([0.9]), low=None) == Limits(0.2, 0.9)
    assert full_limits(np.array([-1.0, 1.0])) == Limits(0.0, 1.0, clipped=True)


def test_one_sink_does_not_stretch_the_robust_scale():
    values = np.linspace(0.0, 0.01, 100)
    values[7] = 0.9
    limits = robust_limits(values)
    assert limits.high <= 0.01
    assert limits.clipped
    # Control: the full scale is stretched, and share 1 is the full scale.
    assert full_limits(values).high == 0.9
    assert robust_limits(values, share=1.0) == Limits(0.0, 0.9)


def test_hidden_tokens_do_not_count():
    values = np.array([[0.1, 0.2, 0.9], [0.1, 0.3, 0.8]])
    hide = np.array([False, False, True])
    assert robust_limits(values, share=1.0, hide=hide) == Limits(0.0, 0.3, clipped=True)
    everything = robust_limits(values, share=1.0, hide=np.array([True, True, True]))
    assert everything.high == 0.9


@pytest.mark.parametrize("values", [[], [np.nan], [0.0, 0.0], [0.3, 0.3], [np.inf, 1.0], [-2.0]])
@pytest.mark.parametrize("limits", [full_limits, robust_limits, symmetric_limits])
def test_limits_are_finite_and_apart(values, limits):
    found = limits(np.array(values))
    assert np.isfinite([found.low, found.high]).all()
    assert found.low < found.high


def test_symmetric_limits_put_zero_in_the_middle():
    limits = symmetric_limits(np.array([-0.1, 0.4, np.nan]))
    assert limits == Limits(-0.4, 0.4)
    assert limits.normalise(np.array([0.0]))[0] == 0.5


def test_normalise_clips_and_keeps_nan():
    scaled = Limits(1.0, 3.0).normalise(np.array([0.0, 1.0, 2.0, 9.0, np.nan]))
    np.testing.assert_array_equal(scaled, np.array([0, 0, 0.5, 1, np.nan], dtype=np.float32))


@pytest.mark.parametrize("share", [0.0, 1.5, -1.0])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(ValueError, match="share"):
        robust_limits(np.ones(3), share=share)
