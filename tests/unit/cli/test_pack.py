"""`pack`: a part of a session in another file, its size before, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from tests.unit.cli.test_export_and_info import assert_refused
from var_studio.cli import main
from var_studio.cli.terminal import Progress
from var_studio.recording.content import Content, size_in_words
from var_studio.recording.session import open_session


def test_a_part_is_written_as_asked(cli, session, tmp_path):
    out = tmp_path / "part.vars"
    given = ("--maps-only", "--token", "g0", "--token", "19", "--without-images")
    outcome = cli("pack", session, *given, "--out", out)
    assert outcome.code == 0 and outcome.err.startswith("Saving part.vars")
    size = size_in_words(out.stat().st_size)
    assert outcome.out == f"{out}  {size}, maps only, rows of g0, 19, without pictures\n"
    with open_session(out) as part, open_session(session) as whole:
        assert part.content == Content(maps=True, tokens=("g0", "19"), images=False)
        mine, its = part.runs[0], whole.runs[0]
        first = int(mine.generated_positions[0])
        assert mine.query_positions.tolist() == sorted({18, 19, first - 1, first})
        row, seen = mine.attention(mine.query_of(first)), its.attention(its.query_of(first))
        assert np.array_equal(row[..., mine.visual], seen[..., its.visual])
        assert np.isnan(row[..., mine.keys_left_out][..., :4]).any()
    told = cli("info", out)
    assert "2 runs, 2 images (2 left out)" in told.out
    assert "kept: maps only, rows of g0, 19, without pictures" in told.out
    assert "4 rows left out when it was saved" in told.out
    document = json.loads(cli("info", out, "--json").out)
    assert document["content"] == {"maps": True, "tokens": ["g0", "19"], "images": False}
    assert [image["left_out"] for image in document["images"]] == [True, True]
    assert len(document["runs"][0]["left_out"]["rows"]) == 4


def test_sizes_are_told_before(cli, session, tmp_path):
    listed = json.loads(cli("pack", session, "--json").out)
    assert len(listed) == 5
    for number, choice in enumerate(listed):
        out = tmp_path / f"{number}.vars"
        options = ["--maps-only"] * choice["maps"] + ["--without-images"] * (not choice["images"])
        for token in choice["tokens"] or ():
            options += ["--token", token]
        assert cli("pack", session, *options, "--out", out).code == 0
        assert out.stat().st_size == choice["bytes"]
        line = cli("pack", session, *options, "--size").out.splitlines()[0]
        assert (
            line.split("  ")[-1]
            == Content(**{k: choice[k] for k in choice if k != "bytes"}).in_words
        )
        assert size_in_words(choice["bytes"]) in line


def test_a_script_gets_the_file_too(cli, session, tmp_path):
    out = tmp_path / "o.vars"
    outcome = cli("pack", session, "--maps-only", "--out", out, "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out) == {
        "path": str(out), "maps": True, "tokens": None, "images": True,
        "bytes": out.stat().st_size,
    }  # fmt: skip
    assert_refused(cli("pack", session, "--out", out, "--json"), "--overwrite")
    assert_refused(cli("pack", session, "--out", out, "--size"), "--size writes no file")


def test_what_is_refused(cli, session, tmp_path):
    out = tmp_path / "o.vars"
    assert_refused(cli("pack", session), "--out is missing")
    assert_refused(cli("pack", session, "--token", "x", "--out", out), "positions such as 117")
    assert_refused(cli("pack", session, "--token", "g99", "--out", out), "No run has a row")
    assert_refused(cli("pack", session, "--token", "2", "--out", out), "No run has a row")
    assert_refused(cli("pack", tmp_path / "none.vars", "--out", out), "There is no file")
    assert_refused(cli("pack", session, "--out", tmp_path / "no" / "o.vars"), "There is no folder")
    assert_refused(cli("pack", session, "--out", session, "--overwrite"), "the session itself")
    assert not out.exists()
    out.write_bytes(b"mine")
    assert_refused(cli("pack", session, "--out", out), "exists", "--overwrite")
    assert out.read_bytes() == b"mine"
    assert cli("pack", session, "--out", out, "--overwrite").code == 0


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is no signal to oneself there")
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_the_old_file_and_nothing_beside_it(
    session, tmp_path, capfd, monkeypatch, times
):
    """Once, or twice for the impatient."""
    out = tmp_path / "o.vars"
    out.write_bytes(b"as it was")
    seen = []

    def say(self, stage, detail=""):
        seen.append(detail)
        if len(seen) == 3:
            assert [path.suffix for path in tmp_path.iterdir() if path != out] == [".part"]
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "say", say)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = main(["pack", str(session), "--out", str(out), "--overwrite"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 130 and "Stopped" in capfd.readouterr().err
    assert 3 <= len(seen) <= 5
    assert list(tmp_path.iterdir()) == [out] and out.read_bytes() == b"as it was"
