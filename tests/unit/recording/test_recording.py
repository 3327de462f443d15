import numpy as np
import pytest

from tests.synthetic import make_run
from var_studio.errors import VarStudioError
from var_studio.recording.failures import SettingsError
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), layers=3, heads=5, rows=4, cols=6, queries=20)


def test_shapes(run):
    layers, heads, length = 3, 5, 6 + 24 + 20
    assert (run.n_layers, run.n_heads, run.length) == (layers, heads, length)
    assert run.attention(0).shape == (layers, heads, length)
    assert run.attention(0, layer=1).shape == (heads, length)
    assert run.attention(0, head=4).shape == (layers, length)
    assert run.attention(0, layer=1, head=4).shape == (length,)
    assert run.phi().shape == (layers, length) and run.phi(2).shape == (length,)
    assert run.signed_values.shape == (layers, length, 2)
    assert run.sinks().shape == (layers, length) and run.sinks(1).dtype == bool
    assert run.image_centric(0).shape == (layers, heads)
    assert run.value_norm().shape == (layers, heads, length)
    assert run.contribution(3, layer=0).shape == (heads, length)
    dims, values = run.top_dims()
    assert dims.shape == values.shape == (layers, length, 16)
    assert dims.dtype == np.int32 and values.dtype == np.float32


def test_one_layer_and_head_is_a_part_of_the_whole(run):
    for method in (run.attention, run.redistributed, run.contribution):
        whole = method(7)
        for layer in range(3):
            assert np.array_equal(method(7, layer=layer), whole[layer])
            for head in range(5):
                assert np.array_equal(method(7, layer=layer, head=head), whole[layer, head])
        assert np.array_equal(method(7, head=2), whole[:, 2])


def test_arrays_cannot_be_written(run):
    arrays = [
        run.attention(0),
        run.attention(0, layer=1),
        run.phi(),
        run.signed_values,
        run.sinks(),
        run.visual,
        run.value_norm(1, 2),
        run.contribution(0),
        run.query_positions,
        run.image_centric(0),
        *run.top_dims(),
    ]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_keys_after_a_query_are_zero(run):
    for query, position in enumerate(run.query_positions):
        row = run.attention(query)
        assert not row[:, :, position + 1 :].any() and row[:, :, : position + 1].all()
        np.testing.assert_allclose(row.sum(-1), 1, atol=2e-3)


def test_queries_and_positions(run):
    assert run.query_positions.tolist() == list(range(30, 50))
    assert run.query_of(30) == 0 and run.query_of(49) == 19
    assert run.query_of(29) is None and run.query_of(99) is None
    assert run.generated_positions.tolist() == list(range(run.prompt_length, 50))
    assert run.text == "".join(t.text for t in run.tokens[run.prompt_length :] if not t.special)
    assert "</s>" not in run.text and run.text.startswith(" the")


def test_contribution_is_attention_times_norm(run):
    expected = run.attention(4) * run.value_norm()
    np.testing.assert_allclose(run.contribution(4), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "range_"),
    [
        (lambda run: run.attention(20), "0 to 19"),
        (lambda run: run.attention(-1), "0 to 19"),
        (lambda run: run.attention(0, layer=3), "0 to 2"),
        (lambda run: run.attention(0, head=5), "0 to 4"),
        (lambda run: run.redistributed(99), "0 to 19"),
        (lambda run: run.phi(3), "0 to 2"),
        (lambda run: run.sinks(-1), "0 to 2"),
        (lambda run: run.value_norm(0, 9), "0 to 4"),
        (lambda run: run.image(1), "0 to 0"),
    ],
)
def test_bad_index_says_the_range(run, call, range_):
    with pytest.raises(VarStudioError, match=range_):
        call(run)


def test_an_index_that_is_no_number(run):
    with pytest.raises(VarStudioError, match="whole number"):
        run.attention(1.5)
    assert np.array_equal(run.attention(np.int64(2)), run.attention(2))


def test_phi_under_other_dimensions(run):
    """Exact where the dimension is among the recorded sixteen, NaN below the least of them."""
    dims, values = run.top_dims()
    wanted = int(dims[2, 0, 3])
    phi = run.phi(sink_dims=(wanted,))
    for layer in range(3):
        for token in range(run.length):
            found = np.abs(values[layer, token][dims[layer, token] == wanted])
            least = np.abs(values[layer, token]).min()
            if found.size and found.max() >= least:
                assert phi[layer, token] == found.max()
            else:
                assert np.isnan(phi[layer, token])
    assert np.isfinite(phi).any() and np.isnan(phi).any()
    one = run.phi(sink_dims=run.sink_dims[:1])
    assert np.array_equal(one, np.abs(run.signed_values[..., 0]))
    assert not run.sinks(tau=0.0, sink_dims=(wanted,))[np.isnan(phi)].any()
    assert run.image_centric(0, Redistribution(sink_dims=(wanted,))).shape == (3, 5)


def test_phi_of_a_known_and_a_partly_known_dimension(run):
    """Where the one that is not recorded could be the larger, phi is not known."""
    dims, values = run.top_dims()
    known, other = run.sink_dims[0], int(dims[2, 9, 3])
    phi = run.phi(sink_dims=(known, other))
    unknown = 0
    for layer in range(3):
        for token in range(run.length):
            candidates = [abs(run.signed_values[layer, token, 0])]
            candidates += np.abs(values[layer, token][dims[layer, token] == other]).tolist()
            if max(candidates) < np.abs(values[layer, token]).min():
                assert np.isnan(phi[layer, token])
                unknown += 1
            else:
                assert phi[layer, token] == np.float32(max(candidates))
    assert 0 < unknown < phi.size


def test_what_phi_is_at_most_where_it_is_not_known(run):
    """No dimension outside the recorded ones exceeds the least of them."""
    dims, values = run.top_dims()
    wanted = int(dims[1, 7, 0])
    phi, bound = run.phi(sink_dims=(wanted,)), run.phi_bound((wanted,))
    for layer in range(3):
        for token in range(run.length):
            known = np.isfinite(phi[layer, token])
            least = min(abs(float(value)) for value in values[layer, token])
            assert bound[layer, token] == (phi[layer, token] if known else np.float32(least))
    assert np.array_equal(run.phi_bound(), run.phi(), equal_nan=True)
    assert np.isnan(run.phi_bound(())).all()


def test_a_dimension_that_was_never_recorded(run):
    with pytest.raises(VarStudioError, match="Dimension 99999"):
        run.phi(sink_dims=(99999,))


def test_no_dimension_is_no_sink(run):
    assert np.isnan(run.phi(sink_dims=())).all() and not run.sinks(tau=0, sink_dims=()).any()
    settings = Redistribution(sink_dims=(), heads="all", tau=0)
    assert np.array_equal(run.redistributed(3, settings), run.attention(3))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run: run.sinks(convention="x"), "no convention 'x'.*'paper' or 'released-code'"),
        (lambda run: run.sinks(tau=-1), "tau is -1.*at least 0"),
        (lambda run: run.sinks(tau=np.nan), "tau is nan"),
        (lambda run: run.sinks(tau=np.inf), "tau is inf"),
        (lambda run: run.sinks(tau="6"), "tau is '6'"),
        (lambda run: run.phi(sink_dims=5), "sink_dims is 5.*whole numbers"),
        (lambda run: run.phi(sink_dims=(1.5,)), "sink_dims is"),
        (lambda run: run.redistributed(0, Redistribution(first_layer=3)), "layers 0 to 2.*layer 3"),
        (lambda run: run.redistributed(0, Redistribution(last_layer=9)), "layers 0 to 2.*layer 9"),
        (lambda run: run.redistributed(0, 0.5), "takes a Redistribution, not float"),
        (lambda run: run.image_centric(0, {"rho": 2}), "from 0 to 1"),
    ],
)
def test_questions_that_mean_nothing_are_refused(run, call, said):
    with pytest.raises(SettingsError, match=said):
        call(run)


def test_without_settings_a_run_shows_what_was_done_to_it(tmp_path, run):
    """Its own intervention, else the defaults."""
    own = Redistribution(rho=0.1, p=0.9, mass_min=0.05)
    changed = make_run(
        tmp_path / "run", layers=3, heads=5, rows=4, cols=6, queries=20, intervention=own
    )
    for query in (3, 15):
        assert np.array_equal(changed.redistributed(query), changed.redistributed(query, own))
        assert np.array_equal(changed.image_centric(query), changed.image_centric(query, own))
        defaults = Redistribution()
        assert np.array_equal(run.redistributed(query), run.redistributed(query, defaults))
        assert np.array_equal(run.image_centric(query), run.image_centric(query, defaults))
    # Negative control: the two settings do differ on these rows.
    assert not np.array_equal(changed.redistributed(15, own), changed.redistributed(15, defaults))
    as_dict = changed.redistributed(15, own.model_dump())
    assert np.array_equal(as_dict, changed.redistributed(15, own))


def test_a_run_closes_by_itself(tmp_path):
    with make_run(tmp_path / "run", layers=2, heads=2, rows=3, cols=3, queries=4) as run:
        run.attention(1)
        assert run._rows
    assert not run._rows and (tmp_path / "run" / "zarr.json").exists()


def test_images(run):
    image = run.image(0)
    assert image.mode == "RGB" and image.size == (320, 240)
    assert run.image(0) is image and len(run.images) == 1
    assert run.stored_image(0).media_type == "image/png"


def test_a_damaged_row_is_told(tmp_path):
    run = make_run(tmp_path / "run", layers=2, heads=2, rows=3, cols=3, queries=4)
    (chunk,) = (tmp_path / "run" / "attention").glob("c.2.*")
    chunk.write_bytes(chunk.read_bytes()[:-7])
    assert run.attention(1).shape == (2, 2, 19)
    with pytest.raises(VarStudioError, match="damaged"):
        run.attention(2)


def test_no_recording_there(tmp_path):
    with pytest.raises(VarStudioError, match="no recording"):
        Recording.open(tmp_path)


def test_many_rows_do_not_stay_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("var_studio.recording.recording._CACHE_BYTES", 3 * 2 * 2 * 24 * 4)
    run = make_run(tmp_path / "run", layers=2, heads=2, rows=3, cols=3, queries=9)
    first = run.attention(0)
    assert run.attention(0) is not None and np.shares_memory(run.attention(0), first)
    run.prefetch(range(-1, 20))
    assert len(run._rows) == 3
    assert not np.shares_memory(run.attention(0), first)
    assert np.array_equal(run.attention(0), first)


def test_discard_removes_the_directory_and_close_does_not(tmp_path):
    run = make_run(tmp_path / "run", layers=2, heads=2, rows=3, cols=3, queries=4)
    run.close()
    assert (tmp_path / "run" / "zarr.json").exists() and run.attention(1).any()
    run.discard()
    assert not (tmp_path / "run").exists()
    run.discard()
