import numpy as np
import pytest

from var_studio.recording.halves import narrow, widen


def narrowed(values):
    out = np.empty(values.shape, np.float16)
    narrow(values, out)
    return out


def bits_of(halves):
    return halves.view(np.uint16)


def every_half():
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def test_every_half_widens_as_numpy_does():
    halves = every_half()
    assert np.array_equal(widen(halves), halves.astype(np.float32), equal_nan=True)


def test_ties_and_their_neighbours_round_as_numpy_does():
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    ties = ((halves[:-1] + halves[1:]) / 2).astype(np.float32)
    values = np.concatenate(
        [halves.astype(np.float32), ties, np.nextafter(ties, 0), np.nextafter(ties, np.inf)]
    ).astype(np.float32)
    assert np.array_equal(bits_of(narrowed(values)), bits_of(values.astype(np.float16)))


def test_random_bits_round_as_numpy_does():
    bits = np.random.default_rng(0).integers(0, 0x477FEFFF, 200_000, dtype=np.uint32)
    values = bits.view(np.float32).reshape(20, -1)
    assert np.array_equal(bits_of(narrowed(values)), bits_of(values.astype(np.float16)))


@pytest.mark.parametrize("odd", [-1.5, np.nan, np.inf, -np.inf, -0.0, 65520.0, 1e9])
def test_what_is_no_attention_weight_is_cast_as_numpy_does(odd):
    values = np.array([0.25, odd, 1e-7], np.float32)
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    assert np.array_equal(bits_of(narrowed(values)), expected.view(np.uint16))


def test_a_part_of_an_array_can_be_the_target():
    out = np.zeros((2, 3, 9), np.float16)
    narrow(np.full((2, 3, 4), 0.5, np.float32), out[:, :, 2:6])
    assert out.sum() == 12 and (out[:, :, 2:6] == 0.5).all()
