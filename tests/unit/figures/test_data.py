"""The data beside a figure, and settings read back from it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from var_studio.figures.build import FIGURES
from var_studio.figures.data import load_settings
from var_studio.figures.export import draw_figure, export_figure
from var_studio.figures.render import FigureError
from var_studio.recording.recording import Recording
from var_studio.recording.session import save_session
from var_studio.recording.settings import Knockout, Redistribution

ROOT = Path(__file__).resolve().parents[3]


def exported(run, folder, figure, **choice):
    return export_figure(run, figure, folder / f"{figure}.png", dpi=40, with_data=True, **choice)


@pytest.mark.parametrize("figure", FIGURES)
def test_settings_load_back(run, tmp_path, figure):
    settings = Redistribution(tau=5.5, rho=0.4, p=0.3, convention="released-code", target="both")
    written = exported(run, tmp_path, figure, layer=2, head=1, settings=settings)
    assert [path.suffix for path in written] == [".png", ".npz", ".csv", ".json", ".py"]
    assert load_settings(written[3]) == settings
    document = json.loads(written[3].read_text("utf-8"))
    assert document["layer"] == 2 and document["heads"] == [[2, 1]]
    assert (document["tau"], document["rho"], document["p"]) == (5.5, 0.4, 0.3)
    assert document["convention"] == "released-code"
    assert document["token"]["position"] == run.generated_positions[0]
    with np.load(written[1], allow_pickle=False) as arrays:
        assert json.loads(str(arrays["settings"])) == document


def test_the_table_of_a_map_holds_the_recorded_numbers(run, tmp_path):
    written = exported(run, tmp_path, "map", layer=2, head=1)
    query = run.query_of(int(run.generated_positions[0]))
    before = run.attention(query, 2, 1)
    after = run.redistributed(query, Redistribution(), 2, 1)
    with open(written[2], encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 40
    for k, line in enumerate(lines):
        position = int(line["position"])
        assert position == run.layout.positions[k]
        assert (int(line["row"]), int(line["col"])) == divmod(k, 8)
        assert np.float32(line["before"]) == before[position]
        assert float(line["after"]) == pytest.approx(float(after[position]), abs=1e-6)
        assert np.float32(line["phi"]) == run.phi(2)[position]
        assert int(line["sink"]) == int(run.sinks(2)[position])
    with np.load(written[1], allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["before"], before[run.layout.positions])
        np.testing.assert_array_equal(arrays["view0_before"].ravel(), arrays["before"])


def test_the_table_of_heads_holds_the_method_s_numbers(run, tmp_path):
    from var_studio.method import heads

    written = exported(run, tmp_path, "heads")
    query = run.query_of(int(run.generated_positions[0]))
    ratio = heads.non_sink_ratio(run.attention(query)[:, :, None], run.visual, run.sinks())[..., 0]
    with open(written[2], encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            layer, head = int(line["layer"]), int(line["head"])
            assert float(line["non_sink_ratio"]) == pytest.approx(ratio[layer, head], abs=1e-6)
            assert int(line["image_centric"]) == int(run.image_centric(query)[layer, head])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        '{"redistribution": 3}',
        '{"redistribution": {"rho": 7}}',
        '{"rho": 0.5, "colour": 1}',
        "[" * 100_000,
        "\x00",
    ],
)
def test_a_file_that_holds_no_settings_is_refused(tmp_path, content):
    path = tmp_path / "s.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FigureError, match="holds no settings"):
        load_settings(path)


@pytest.mark.parametrize(
    ("checkpoint", "told"),
    [
        ("/home/ann/models/llava-1.5-7b-hf", "llava-1.5-7b-hf"),
        ("C:\\Users\\ann\\llava", "llava"),
        ("llava-hf/llava-1.5-7b-hf", "llava-hf/llava-1.5-7b-hf"),
    ],
)
def test_what_is_shared_names_no_folder_of_who_recorded_it(tmp_path, monkeypatch, checkpoint, told):
    from tests.answers import answered
    from var_studio.figures.gallery import gallery_html
    from var_studio.figures.numbers import maps_of
    from var_studio.recording.session import Session

    runs = answered(tmp_path, monkeypatch)
    known = {"checkpoint": checkpoint, "revision": None, "fingerprint": "ab12", "model": "M"}
    monkeypatch.setattr(Recording, "provenance", property(lambda _: known))
    one = draw_figure(runs[0], "map").figure.metadata
    two = draw_figure(runs[0], "answers", compare_with=runs[1]).figure.metadata
    for about in (one, two, maps_of(runs[0]).metadata):
        assert (about["checkpoint"], about["fingerprint"]) == (told, "ab12")
        assert "ann" not in json.dumps({**about, "text": ""})
    page = gallery_html(Session([runs[0]]))
    assert f"<dt>Checkpoint</dt><dd>{told}</dd>" in page and "models" not in page


def test_answers_carry_settings_only_of_a_redistribution(tmp_path, monkeypatch):
    from tests import answers

    first, second, _ = answers.answered(tmp_path, monkeypatch)
    other = answers._run(
        tmp_path / "k", monkeypatch, answers._SECOND, 2, intervention=Knockout(tau=4.0)
    )
    out = tmp_path / "a.svg"
    export_figure(first, "answers", out, compare_with=second, with_data=True)
    assert load_settings(out.with_suffix(".json")) == Redistribution()
    export_figure(first, "answers", out, compare_with=other, with_data=True)
    about = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert "redistribution" not in about
    assert about["after"]["interventions"][0]["tau"] == 4.0
    with pytest.raises(FigureError, match="no redistribution plays a part"):
        load_settings(out.with_suffix(".json"))


def test_settings_of_a_missing_file(tmp_path):
    with pytest.raises(FigureError, match="cannot be read"):
        load_settings(tmp_path / "none.json")
    with pytest.raises(FigureError, match="holds no settings"):
        path = tmp_path / "binary.json"
        path.write_bytes(b"\xff\xfe\x80")
        load_settings(path)


def test_no_figure_is_left_half_written(run, tmp_path, monkeypatch):
    import os

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(FigureError, match="No space left"):
        export_figure(run, "histogram", tmp_path / "f.pdf")
    assert list(tmp_path.iterdir()) == []


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is blocked", name=name.split(".")[0])

sys.meta_path.insert(0, Blocker())
{body}
"""


def run_blocked(
    body: str, *arguments: str, blocked: tuple[str, ...]
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED.format(blocked=blocked, body=body), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_session_opens_and_exports_without_torch_or_qt(run: Recording, tmp_path):
    session = save_session(tmp_path / "s.vars", runs=[run])
    blocked = ("torch", "transformers", "accelerate", "PySide6", "pyqtgraph", "shiboken6")
    body = (
        "from var_studio.cli import main\n"
        "folder, session = sys.argv[1:]\n"
        "for figure in ('map', 'histogram', 'heads'):\n"
        "    for suffix in ('pdf', 'svg', 'png'):\n"
        "        out = f'{folder}/{figure}-{suffix}.{suffix}'\n"
        "        options = ['--figure', figure, '--out', out, '--with-data']\n"
        "        assert main(['export', session, *options]) == 0\n"
        "assert main(['info', session]) == 0\n"
        "batch = ['--figure', 'map', '--tokens', 'g0-g1', '--out', f'{folder}/several']\n"
        "assert main(['export', session, *batch]) == 0\n"
        "assert main(['export', session, '--maps', '--out', f'{folder}/m.npz']) == 0\n"
        "assert main(['export', session, '--masks', '--out', f'{folder}/sinks.png']) == 0\n"
        "assert main(['gallery', session, '--out', f'{folder}/page.html']) == 0\n"
    )
    done = run_blocked(body, str(tmp_path), str(session), blocked=blocked)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.pdf"))) == 3
    # Control: the blocker blocks.
    for name in ("torch", "PySide6"):
        assert "is blocked" in run_blocked(f"import {name}", blocked=blocked).stderr
