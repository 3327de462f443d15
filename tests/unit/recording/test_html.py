"""What a notebook shows is whole, escaped HTML in the colours of the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import var_studio as vs
from tests.synthetic import make_run

EVIL = '<script>alert("x")</script> & <img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("html")
    shape: dict[str, Any] = {"layers": 2, "heads": 2, "rows": 3, "cols": 3, "queries": 14}
    runs = [
        make_run(folder / "a", **shape, name=EVIL[:60]),
        make_run(folder / "b", **shape, name="VAR", intervention=vs.Redistribution()),
    ]
    return vs.open_session(vs.save_session(folder / "s.vars", runs, notes=EVIL))


class Tags(HTMLParser):
    """The tags of a text, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_everything_is_escaped_and_closed(session: Any) -> None:
    run = session.runs[0]
    for shown in (session, session.runs, run, run.tokens):
        text = shown._repr_html_()
        assert "script" not in Tags(text).seen
        assert "<script" not in text
        assert text.count("<table") == text.count("color:inherit;font-size:inherit")
        # Neutral: no colour but a see-through grey, in the light and in the dark.
        assert set(re.findall(r"#[0-9a-fA-F]{3,6}\b|rgba?\([^)]*\)", text)) <= {
            "rgba(128,128,128,.4)"
        }
    assert "&lt;script&gt;" in session._repr_html_()


def test_it_says_what_is_there(session: Any) -> None:
    run = session.runs["VAR"]
    for shown in (session, session.runs):
        assert "[1] VAR" in shown._repr_html_() and "redistribut" in shown._repr_html_()
    text = run._repr_html_()
    assert "data:image/png;base64," in text and f"{run.n_layers} layers" in text
    table = run.tokens._repr_html_()
    first, last = (run.layout.positions[n] for n in (0, -1))
    assert f"{first}–{last}" in table and "9 image tokens" in table
    assert table.count("<tr") == 1 + 1 + sum(t.role != "visual" for t in run.tokens)
    assert "and more" not in table


def test_a_long_run_and_one_without_its_picture(session: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", layers=1, heads=1, rows=2, cols=2, queries=400)
    saved = vs.save_session(tmp_path / "s.vars", run, content={"images": False})
    kept = vs.open_session(saved).runs[0]
    assert "<img" not in kept._repr_html_()
    table = kept.tokens._repr_html_()
    assert "and more" in table and table.count("<tr") < 310
