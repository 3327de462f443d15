"""What a script relies on, in processes of their own: JSON alone on stdout, and exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.synthetic import make_run
from tests.unit.cli.processes import COMMAND, ROOT, started
from var_studio.recording.session import save_session
from var_studio.recording.settings import Redistribution

DOCUMENT = (ROOT / "resources" / "json-output.md").read_text(encoding="utf-8")


def command(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline, a free run and a teacher-forced one."""
    folder = tmp_path_factory.mktemp("scripts")
    shape: dict[str, Any] = {"layers": 2, "heads": 2, "rows": 2, "cols": 3, "queries": 12}
    first = make_run(folder / "a", **shape)
    var = Redistribution(rho=0.35)
    free = make_run(folder / "b", **shape, name="VAR", intervention=var)
    forced = make_run(folder / "c", **shape, name="forced", intervention=var, teacher=first.id)
    return save_session(folder / "s.vars", [first, free, forced])


def documented(name: str) -> set[str]:
    """The keys that the table gives for a command."""
    row = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| `{name}` |"))
    return set(re.findall(r"`(\w+)`", row.split("|")[2]))


def told(name: str) -> set[str]:
    """All names between backticks in the paragraph about what a command lists."""
    paragraph = next(p for p in DOCUMENT.split("\n\n") if p.startswith(f"**`{name}`"))
    return set(re.findall(r"`(\w+)`", paragraph))


def keys(document: Any) -> set[str]:
    """The names of our own keys: what is inside free documents is not ours."""
    free = ("provenance", "generation", "interventions", "facts", "content")
    if isinstance(document, list):
        return set().union(*map(keys, document)) if document else set()
    if not isinstance(document, dict):
        return set()
    inner = [keys(value) for name, value in document.items() if name not in free]
    return set(document).union(*inner)


def test_json_is_alone_on_stdout_and_has_the_documented_keys(pair: Path, tmp_path: Path) -> None:
    calls: dict[str, tuple[object, ...]] = {
        "info": ("info", pair, "--json"),
        "compare": ("compare", pair, "--json"),
        "export": ("export", pair, "--figure", "ledger", "--out", tmp_path / "l.svg", "--json"),
    }
    for name, arguments in calls.items():
        done = command(*arguments)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
        document = json.loads(done.stdout)
        assert set(document) == documented(name), name
        if name != "export":
            listed = document["runs" if name == "info" else "comparisons"]
            beside = document["images"] if name == "info" else document["baseline"]
            candidates = {"logprob"}  # of `top_before`, as of a token
            assert keys(listed) | keys(beside) <= told(name) | candidates
        if name == "compare":
            assert {"free", "forced"} <= keys(document["comparisons"])


@pytest.mark.torch
def test_record_as_json(tmp_path: Path) -> None:
    picture = ROOT / "resources" / "samples" / "scene-4.png"
    done = command(
        "record", "--model", "demo", "--image", picture, "--prompt", "Describe the picture.",
        "--out", tmp_path / "s.vars", "--var", "--max-new-tokens", 3, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document) == documented("record")
    assert keys(document["runs"]) == told("record") - {"runs", "record"}
    assert document["path"] == str(tmp_path / "s.vars") and not document["stopped"]
    assert [run["generated"] for run in document["runs"]] == [3, 3]
    assert "Recording baseline" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("info", "no-such-file.vars"), "no-such-file.vars"),
        (("info", "no-such-file.vars", "--json"), "no-such-file.vars"),
        (("info",), "Try --help"),
        (("info", "--nope"), "--nope"),
        (("doctor", "--nope"), "--nope"),
        (("compare", __file__, "--json"), "test_scripts.py"),
        (("export", __file__, "--figure", "nothing", "--out", "x.pdf"), "--figure"),
        (("convert", "/no/such/folder", "there"), "/no/such/folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_code_2(arguments: Any, said: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    *progress, last = done.stderr.splitlines()
    assert said in last and last.startswith("var-studio: ")
    assert not any("var-studio:" in line or "Traceback" in line for line in progress)


def test_whoever_reads_the_doctor_may_go_away(tmp_path: Path) -> None:
    for module in ("torch", "PySide6", "matplotlib"):
        (tmp_path / f"{module}.py").write_text("raise ImportError('broken')")
    process = started(tmp_path, "doctor", stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(60) == 0
    process.stderr.close()


@pytest.mark.skipif(os.name == "nt", reason="signals are others there")
def test_ctrl_c_is_code_130_and_leaves_no_process(tmp_path: Path) -> None:
    for module in ("torch", "PySide6", "matplotlib"):
        (tmp_path / f"{module}.py").write_text(
            "import os, time\n"
            f"open({str(tmp_path / module)!r} + '.pid', 'w').write(str(os.getpid()))\n"
            "time.sleep(600)\n"
        )
    process = started(tmp_path, "doctor", stdout=subprocess.PIPE)
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("*.pid"))) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == "" and "Stopped" in err, err
    time.sleep(0.2)
    for file in tmp_path.glob("*.pid"):
        state = Path(f"/proc/{file.read_text()}/stat")
        assert not state.exists() or state.read_text().split()[2] == "Z"


@pytest.mark.parametrize(
    "name",
    ["gui", "record", "info", "compare", "export", "convert", "doctor", "forecast", "demo"],
)
def test_every_command_has_help_with_examples(name: str) -> None:
    done = command(name, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert re.search(rf"Examples?:\s+var-studio {name}", done.stdout)
