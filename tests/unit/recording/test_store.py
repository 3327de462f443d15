import errno
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.synthetic import make_image, make_layout, make_run
from var_studio.recording import store
from var_studio.recording.failures import RecordingError, StorageError
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Generation, Redistribution
from var_studio.recording.store import RunWriter
from var_studio.recording.tokens import Alternative, Token

ROOT = Path(__file__).parents[3]


def writer_in(directory, length_max=400, precision="float32", **changes):
    arguments = {
        "name": "baseline",
        "n_layers": 3,
        "n_heads": 4,
        "hidden_size": 64,
        "length_max": length_max,
        "sink_dims": (5, 9),
        "tau_default": 2.5,
        "precision": precision,
        "generation": Generation(max_new_tokens=7, seed=3),
        "interventions": [Redistribution(rho=0.5)],
        "provenance": {"checkpoint": "made up", "parity": float("nan"), "folder": Path("a")},
        "images": [make_image((40, 30))],
    }
    return RunWriter.create(directory, **{**arguments, **changes})


def keys(start, n, layers=3, heads=4, dims=2):
    """Numbers that say which key, layer and head they belong to."""
    layer = np.arange(layers)[:, None, None]
    key = np.arange(start, start + n)
    signed = layer * 1000 + key[None, :, None] + np.arange(dims) / 4
    rank = np.arange(16)
    top = layer * 100_000 + key[None, :, None] * 16 + rank
    norm = layer * 100 + np.arange(heads)[None, :, None] * 10 + key / 1024
    return signed, top, top / 7, norm


def row(position, keys_, layers=3, heads=4):
    rng = np.random.default_rng(position)
    rows = rng.random((layers, heads, keys_)).astype(np.float32)
    return rows / rows.sum(-1, keepdims=True)


def prompt(visual=12, text=5):
    tokens = [Token(0, 1, "<s>", "system", special=True)]
    tokens += [Token(1 + k, 7, "<image>", "visual") for k in range(visual)]
    return tokens + [Token(1 + visual + k, 50 + k, f" w{k}", "prompt") for k in range(text)]


def generated(position):
    top = (Alternative(3, " a", -0.25), Alternative(4, "�", float("-inf")))
    return Token(position, 90 + position, f" g{position}", "generated", False, -0.25, top)


LAYOUT = make_layout(3, 4, (40, 30), start=1)


def test_everything_written_is_read_back(tmp_path):
    writer = writer_in(tmp_path / "run")
    writer.put_prompt(prompt(), LAYOUT)
    writer.append_keys(0, *keys(0, 18))
    for position in range(13, 18):
        writer.append_query(position, row(position, position + 1))
    for position in range(18, 30):
        writer.append_token(generated(position))
        writer.append_keys(position, *keys(position, 1))
        writer.append_query(position, row(position, position + 1))
    writer.append_token(generated(30))
    writer.finish("cancelled", {"seconds": np.float32(1.5)})

    run = Recording.open(tmp_path / "run")
    assert run.finished and run.reason == "cancelled" and not run.growing
    assert run.tokens == tuple(prompt() + [generated(p) for p in range(18, 31)])
    assert run.query_positions.tolist() == list(range(13, 30))
    for query, position in enumerate(range(13, 30)):
        found = run.attention(query)
        assert np.array_equal(found[:, :, : position + 1], row(position, position + 1))
        assert not found[:, :, position + 1 :].any()
    signed, top, top_value, norm = keys(0, 30)
    assert np.array_equal(run.signed_values[:, :30], signed.astype(np.float32))
    assert np.array_equal(run.top_dims()[0][:, :30], top)
    assert np.array_equal(run.top_dims()[1][:, :30], top_value.astype(np.float32))
    assert np.array_equal(run.value_norm()[:, :, :30], norm.astype(np.float16))
    # The last token was never fed.
    assert np.isnan(run.phi()[:, 30]).all() and np.isnan(run.value_norm()[:, :, 30]).all()
    assert not run.sinks(tau=0.0)[:, 30].any() and run.query_of(30) is None
    assert (run.top_dims()[0][:, 30] == -1).all()
    assert run.generation == Generation(max_new_tokens=7, seed=3)
    assert run.interventions == (Redistribution(rho=0.5),)
    assert run.sink_dims == (5, 9) and run.tau_default == 2.5 and run.hidden_size == 64
    assert run.provenance == {
        "checkpoint": "made up",
        "parity": "nan",
        "folder": "a",
        "seconds": 1.5,
    }
    assert run.stored_image(0) == make_image((40, 30))


@pytest.mark.parametrize("precision", ["float16", "float32"])
@pytest.mark.parametrize("finish", [True, False])
def test_plain_zarr_reads_it(tmp_path, precision, finish):
    shape = {"layers": 3, "heads": 4, "rows": 17, "cols": 17, "queries": 12}
    run = make_run(tmp_path / "run", precision=precision, finish=finish, **shape)
    group = zarr.open(tmp_path / "run", mode="r")
    q, t = 12, run.length
    assert group["attention"].dtype == precision
    if finish:
        assert group["attention"].shape == (q, 3, 4, t)
        assert group["sink_dims_value"].shape == (3, t, 2)
        assert group["value_norm"].shape == (3, 4, t)
        assert [token["text"] for token in group.attrs["tokens"]] == [x.text for x in run.tokens]
        assert group.attrs["query_positions"] == run.query_positions.tolist()
    for query in range(q):
        assert np.array_equal(group["attention"][query, :, :, :t], run.attention(query))
    assert np.array_equal(group["sink_dims_value"][:, :t], run.signed_values)
    assert np.array_equal(group["top_dims"][:, :t], run.top_dims()[0])
    assert np.array_equal(group["top_dims_value"][:, :t], run.top_dims()[1])
    assert np.array_equal(group["value_norm"][:, :, :t].astype(np.float32), run.value_norm())
    assert group["images/0"][:].tobytes() == run.stored_image(0).bytes
    assert group["attention"].metadata.dimension_names == ("query", "layer", "head", "key")


def test_float16_rounds_as_a_cast_does(tmp_path):
    writer = writer_in(tmp_path / "run", precision="float16")
    writer.put_prompt(prompt(), LAYOUT)
    writer.append_query(17, row(17, 18))
    found = Recording.open(tmp_path / "run").attention(0)
    assert np.array_equal(found, row(17, 18).astype(np.float16).astype(np.float32))


def test_a_shorter_row_leaves_nothing_of_the_longer_one(tmp_path):
    writer = writer_in(tmp_path / "run")
    writer.put_prompt(prompt(), LAYOUT)
    # Rows of the prompt may come padded to the prompt's length.
    writer.append_query(13, row(13, 18))
    writer.append_query(14, row(14, 15))
    assert not Recording.open(tmp_path / "run").attention(1)[:, :, 15:].any()


def test_long_runs_are_split_along_the_keys(tmp_path):
    """Room for 8,192 new tokens must not make every row as long."""
    writer = writer_in(tmp_path / "run", length_max=8300)
    writer.put_prompt(prompt(visual=12, text=3000), LAYOUT)
    writer.append_keys(0, *keys(0, 3013))
    writer.append_query(100, row(100, 101))
    writer.append_query(3012, row(3012, 3013))
    for run in (Recording.open(tmp_path / "run"), finished(writer)):
        assert np.array_equal(run.attention(0)[:, :, :101], row(100, 101))
        assert not run.attention(0)[:, :, 101:].any()
        assert np.array_equal(run.attention(1), row(3012, 3013))
        assert np.array_equal(run.signed_values, keys(0, 3013)[0].astype(np.float32))
    group = zarr.open(tmp_path / "run", mode="r")
    assert np.array_equal(group["attention"][1], row(3012, 3013))
    assert not group["attention"][0, :, :, 101:].any()
    assert np.array_equal(group["value_norm"][:], keys(0, 3013)[3].astype(np.float16))


def finished(writer):
    writer.finish("end")
    return Recording.open(writer.directory)


def test_a_model_without_sink_dimensions(tmp_path):
    writer = writer_in(tmp_path / "run", sink_dims=())
    writer.put_prompt(prompt(), LAYOUT)
    writer.append_keys(0, *keys(0, 18, dims=0))
    writer.append_query(17, row(17, 18))
    run = finished(writer)
    assert run.signed_values.shape == (3, 18, 0)
    assert np.isnan(run.phi()).all() and not run.sinks(tau=0.0).any()
    assert zarr.open(tmp_path / "run", mode="r")["sink_dims_value"].shape == (3, 18, 0)


def test_a_huge_norm_stays_finite(tmp_path):
    writer = writer_in(tmp_path / "run")
    writer.put_prompt(prompt(), LAYOUT)
    signed, top, value, norm = keys(0, 18)
    norm = norm.copy()
    norm[1, 2, 3] = 1e6
    writer.append_keys(0, signed, top, value, norm)
    assert Recording.open(tmp_path / "run").value_norm(1, 2)[3] == 65504


def test_calls_out_of_order_are_refused(tmp_path):
    writer = writer_in(tmp_path / "run", length_max=20)
    writer.put_prompt(prompt(), LAYOUT)
    with pytest.raises(ValueError, match="do not follow"):
        writer.append_keys(1, *keys(1, 2))
    with pytest.raises(ValueError, match="shape"):
        writer.append_keys(0, *keys(0, 2, layers=2))
    with pytest.raises(ValueError, match="no token yet"):
        writer.append_query(18, row(18, 19))
    writer.append_query(15, row(15, 16))
    with pytest.raises(ValueError, match="comes after"):
        writer.append_query(15, row(15, 16))
    with pytest.raises(ValueError, match="shape"):
        writer.append_query(16, row(16, 21))
    with pytest.raises(ValueError, match="next one"):
        writer.append_token(generated(30))
    with pytest.raises(ValueError, match="before every other"):
        writer.put_prompt(prompt(), LAYOUT)
    assert finished(writer).length == 18


def test_a_directory_holds_one_run(tmp_path):
    writer_in(tmp_path / "run").finish("end")
    with pytest.raises(StorageError, match="already holds"):
        writer_in(tmp_path / "run")


# ------------------------------------------------------------------------------ growing


def test_a_reader_follows_a_growing_run(tmp_path):
    writer = writer_in(tmp_path / "run")
    run = Recording.open(tmp_path / "run")
    assert run.length == 0 and not run.finished and run.growing and run.text == ""
    assert run.refresh() is False
    writer.put_prompt(prompt(), LAYOUT)
    assert run.refresh() is True and run.length == 18 and run.visual.sum() == 12
    assert np.isnan(run.phi()).all()
    writer.append_keys(0, *keys(0, 18))
    writer.append_query(17, row(17, 18))
    run.refresh()
    assert np.isfinite(run.phi()).all() and run.attention(0).shape == (3, 4, 18)
    for position in range(18, 300):
        writer.append_token(generated(position))
        run.refresh()
        assert run.attention(0).shape[-1] == run.length == position + 1
        writer.append_keys(position, *keys(position, 1))
        writer.append_query(position, row(position, position + 1))
    writer.finish("length")
    assert run.refresh() is True and run.finished and run.reason == "length" and not run.growing
    assert run.refresh() is False
    assert np.array_equal(run.attention(282), row(299, 300))
    assert np.array_equal(run.signed_values, keys(0, 300)[0].astype(np.float32))


def test_a_reader_sees_an_end_between_two_tokens(tmp_path):
    writer = writer_in(tmp_path / "run")
    writer.put_prompt(prompt(), LAYOUT)
    run = Recording.open(tmp_path / "run")
    writer.append_token(generated(18))
    writer.finish("end")
    assert run.refresh() and run.length == 19 and run.finished


@pytest.mark.parametrize("torn", [b'{"tokens":[{"id', b"\n", b"\x00\x00\x00", b'{"tokens":5}\n'])
def test_a_torn_last_line_is_left_out(tmp_path, torn):
    writer = writer_in(tmp_path / "run")
    writer.put_prompt(prompt(), LAYOUT)
    writer.append_token(generated(18))
    with open(tmp_path / "run" / store.JOURNAL, "ab") as journal:
        journal.write(torn)
    run = Recording.open(tmp_path / "run")
    assert run.length == 19
    run.refresh()
    assert run.length == 19


def test_nothing_after_a_damaged_line_is_trusted(tmp_path):
    writer = writer_in(tmp_path / "run")
    writer.put_prompt(prompt(), LAYOUT)
    path = tmp_path / "run" / store.JOURNAL
    with open(path, "ab") as journal:
        journal.write(b'{"tok\n')
    writer.append_token(generated(18))
    run = Recording.open(tmp_path / "run")
    assert run.length == 18
    assert run.refresh() is False and run.length == 18


# -------------------------------------------------------------------------------- kills

KILLED = textwrap.dedent(
    """
    import os, sys
    from tests.unit.recording import test_store as t
    writer = t.writer_in(sys.argv[1], length_max=4000)
    writer.put_prompt(t.prompt(), t.LAYOUT)
    writer.append_keys(0, *t.keys(0, 18))
    for position in range(18, 4000):
        writer.append_token(t.generated(position))
        writer.append_keys(position, *t.keys(position, 1))
        writer.append_query(position, t.row(position, position + 1))
        print(position, flush=True)
        if position == int(sys.argv[2]):
            os._exit(9)
    """
)


def check_survivor(directory, last):
    run = Recording.open(directory)
    assert not run.finished and run.reason is None and not run.live
    assert run.length >= last + 1
    assert run.tokens[18 : last + 1] == tuple(generated(p) for p in range(18, last + 1))
    assert run.stored_image(0) == make_image((40, 30))
    for query in range(last - 17):
        position = int(run.query_positions[query])
        assert position == query + 18
        assert np.array_equal(
            run.attention(query)[:, :, : position + 1], row(position, position + 1)
        )
    signed, top, _, norm = keys(0, last + 1)
    assert np.array_equal(run.signed_values[:, : last + 1], signed.astype(np.float32))
    assert np.array_equal(run.top_dims()[0][:, : last + 1], top)
    assert np.array_equal(run.value_norm()[:, :, : last + 1], norm.astype(np.float16))
    group = zarr.open(directory, mode="r")
    assert np.array_equal(group["attention"][last - 18, :, :, : last + 1], row(last, last + 1))
    assert np.array_equal(group["sink_dims_value"][:, : last + 1], signed.astype(np.float32))


def start_victim(directory, stop):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(directory), str(stop)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_process_that_exits_in_the_middle(tmp_path):
    with start_victim(tmp_path / "run", 40) as process:
        lines = process.stdout.read().split()
    assert process.returncode == 9 and lines[-1] == "40"
    check_survivor(tmp_path / "run", 40)


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_kill_9_loses_no_finished_token(tmp_path):
    random_ = random.Random(0)
    for attempt in range(5):
        directory = tmp_path / f"run{attempt}"
        stop = random_.randrange(19, 400)
        with start_victim(directory, -1) as process:
            for line in process.stdout:
                last = int(line)
                if last >= stop:
                    break
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().splitlines(keepends=True)
        last = max([last, *(int(line) for line in rest if line.endswith("\n"))])
        check_survivor(directory, last)


# --------------------------------------------------------------------------- full disks


def test_a_full_disk_keeps_what_there_is_and_can_go_on(tmp_path, monkeypatch):
    writer = writer_in(tmp_path / "run")
    writer.put_prompt(prompt(), LAYOUT)
    writer.append_keys(0, *keys(0, 18))
    writer.append_query(17, row(17, 18))
    really_write = os.write

    def no_space(file, content):
        # What a nearly full disk does: a part fits.
        if len(content) > 3:
            return really_write(file, content[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    attempts = [
        lambda: writer.append_token(generated(18)),
        lambda: writer.append_keys(18, *keys(18, 1)),
        lambda: writer.finish("end"),
    ]
    for attempt in attempts:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", no_space)
            with pytest.raises(StorageError, match="disk is full") as caught:
                attempt()
        assert str(tmp_path) in str(caught.value) and "kept" in str(caught.value)
        run = Recording.open(tmp_path / "run")
        assert run.length == 18 and np.array_equal(run.attention(0), row(17, 18))
        assert np.array_equal(run.signed_values, keys(0, 18)[0].astype(np.float32))
    writer.append_token(generated(18))
    writer.append_keys(18, *keys(18, 1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", no_space)
        with pytest.raises(StorageError):
            writer.append_query(18, row(18, 19))
    writer.append_query(18, row(18, 19))
    # Nothing torn is left between the lines of the journal.
    assert Recording.open(tmp_path / "run").query_positions.tolist() == [17, 18]
    run = finished(writer)
    assert run.length == 19 and np.array_equal(run.attention(1), row(18, 19))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Starting the recording"):
        writer_in(tmp_path / "file" / "run")


# ---------------------------------------------------------------------- damaged folders


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: (d / "zarr.json").write_text("{"),
        lambda d: (d / "zarr.json").write_text('{"attributes": 3}'),
        lambda d: edit(d / "zarr.json", n_layers=0),
        lambda d: edit(d / "zarr.json", n_layers=4),
        lambda d: edit(d / "zarr.json", schema=99),
        lambda d: edit(d / "zarr.json", sink_dims=[1]),
        lambda d: edit(d / "zarr.json", query_positions=[5, 4]),
        lambda d: edit(d / "zarr.json", tokens=[{}]),
        lambda d: (d / "attention" / "zarr.json").unlink(),
        lambda d: next((d / "attention").glob("c.*")).unlink(),
        lambda d: next((d / "value_norm").glob("c.*")).write_bytes(b"12"),
    ],
)
def test_a_damaged_directory_is_told(tmp_path, damage):
    make_run(tmp_path / "run", layers=2, heads=2, rows=3, cols=3, queries=4)
    damage(tmp_path / "run")
    with pytest.raises(RecordingError, match="damaged"):
        Recording.open(tmp_path / "run")


def edit(path, **changes):
    document = json.loads(path.read_text())
    document["attributes"].update(changes)
    path.write_text(json.dumps(document))
