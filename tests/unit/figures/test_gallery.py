"""The page of a session: what it shows is what was recorded, and no text in it is code."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.answers import answered
from tests.synthetic import make_run
from var_studio.analysis.choice import read
from var_studio.errors import VarStudioError
from var_studio.figures import draw_words
from var_studio.figures.build import build
from var_studio.figures.gallery import gallery_html, save_gallery
from var_studio.recording.recording import Recording
from var_studio.recording.session import Session, open_session, save_session
from var_studio.recording.settings import Redistribution
from var_studio.recording.tokens import Token

EVIL = "</script></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{csp}"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Its elements with their attributes and text; fails where one is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, int]] = []
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {k: v or "" for k, v in attrs}, []))
        if tag not in VOID:
            self.open.append((tag, len(self.elements) - 1))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {k: v or "" for k, v in attrs}, []))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open:
            self.elements[self.open[-1][1]][2].append(data)

    def all(self, tag: str, kind: str = "") -> list[SimpleNamespace]:
        return [
            SimpleNamespace(attrs=attrs, text="".join(text))
            for name, attrs, text in self.elements
            if name == tag and kind in ["", *attrs.get("class", "").split()]
        ]


def decoded(url: str) -> np.ndarray:
    kind, _, content = url.partition(";base64,")
    assert kind.startswith("data:image/")
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return np.asarray(image.convert("RGBA"))


def test_a_page_of_hostile_texts_runs_and_loads_nothing(
    run: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tuple(
        Token(t.position, t.id, EVIL if t.role == "generated" else t.text, t.role)
        for t in run.tokens
    )
    monkeypatch.setattr(type(run), "tokens", property(lambda _: tokens))
    monkeypatch.setattr(type(run), "name", property(lambda _: EVIL))
    provenance = {**run.provenance, "prompt": EVIL, "model": EVIL, "versions": {EVIL: EVIL}}
    monkeypatch.setattr(type(run), "provenance", property(lambda _: provenance))
    entries = tuple(entry.model_copy(update={"name": EVIL}) for entry in run.image_entries)
    monkeypatch.setattr(type(run), "image_entries", property(lambda _: entries))
    session = Session([run], notes=EVIL)
    text = gallery_html(session, title=EVIL)
    page = Page(text)
    assert len(page.all("script")) == 1 and "alert" not in page.all("script")[0].text
    assert len(page.all("style")) == 1 and "alert" not in page.all("style")[0].text
    for tag, attrs, _ in page.elements:
        assert tag not in {"iframe", "object", "embed", "link", "base", "form"}
        for name, value in attrs.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href"):
                assert value.startswith(("data:image/", "#")), (tag, value)
    urls = re.findall(r"url\(([^)]{0,20})", page.all("style")[0].text)
    assert urls and all(url.startswith("data:image/") for url in urls)
    assert not re.search(r"""(src|href)=["']?https?:|@import|//[a-z]+\.[a-z]""", text)
    # The text itself is there, as text.
    assert page.all("title")[0].text == EVIL and page.all("h1")[0].text == EVIL
    assert EVIL in "".join("".join(words) for _, _, words in page.elements)
    (policy,) = (m.attrs["content"] for m in page.all("meta") if "http-equiv" in m.attrs)
    assert policy.startswith("default-src 'none'") and "unsafe-inline' 'self" not in policy


def test_the_script_is_the_one_that_the_policy_allows(run: Recording) -> None:
    import hashlib

    page = Page(gallery_html(Session([run])))
    digest = hashlib.sha256(page.all("script")[0].text.encode()).digest()
    (policy,) = (m.attrs["content"] for m in page.all("meta") if "http-equiv" in m.attrs)
    assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_maps_and_heads_are_those_of_the_recording(run: Recording) -> None:
    """The colours of every cell, from the recorded row alone."""
    from matplotlib import colormaps

    answer = [int(p) for p in run.generated_positions if run.query_of(int(p)) is not None]
    page = Page(gallery_html(Session([run]), layer=2, head=1))
    cards = page.all("article", "card")
    assert [a.attrs["id"] for a in cards] == [f"r0-t{p}" for p in answer]
    heats = [decoded(i.attrs["src"]) for i in page.all("img", "heat")]
    assert len(heats) == 5 * len(answer)  # before, after, difference; r and visual mass
    for index, position in enumerate(answer):
        alpha = run.attention(run.query_of(position), 2, 1)[run.layout.positions]
        panel = build("map", read(run, token=position, layer=2, head=1)).rows[0][1]
        top = panel.scale.limits.high
        shown = heats[5 * index]
        assert shown.shape == (5, 8, 4)
        for k, value in enumerate(alpha):
            expected = colormaps["viridis"](min(float(value) / top, 1.0))
            found = shown[k // 8, k % 8]
            assert np.abs(found[:3] - 255 * np.array(expected[:3])).max() <= 3
            assert found[3] == round(255 * 0.8)
        ratio = heats[5 * index + 3]
        assert ratio.shape == (run.n_layers, run.n_heads, 4)


def test_where_cells_and_sinks_lie(run: Recording) -> None:
    page = Page(gallery_html(Session([run]), layer=3))
    styles = {i.attrs["style"] for i in page.all("img", "heat")}
    assert "left:0.0000%;top:0.0000%;width:100.0000%;height:100.0000%" in styles
    sinks = np.flatnonzero(run.sinks(3)[run.layout.positions])
    boxes = set()
    for k in sinks:
        left, top = 40 * (k % 8), 48 * (k // 8)
        boxes.add(f"M{left} {top}H{left + 40}V{top + 48}H{left}Z")
    drawn = page.all("path", "sink")
    assert drawn and boxes
    for path in drawn:
        assert {f"{part}Z" for part in path.attrs["d"].split("Z") if part} == boxes


def test_answers_stand_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(answered(tmp_path, monkeypatch))
    page = Page(gallery_html(session))
    marked = [mark.text for mark in page.all("mark")]
    assert "mug" in marked and "cup" in marked and "blue" not in marked
    assert len(page.all("td", "parts")) == 2
    # In the colours of figures, each answer in its own; what is not there is neither.
    style = gallery_html(session).partition("@media")[0]
    named = {"first": draw_words.FIRST, "second": draw_words.SECOND, "parts": draw_words.DIVERGENCE}
    assert all(f"--{name}:{colour}" in style for name, colour in named.items())
    assert page.all("tr", "first") and page.all("tr", "second")
    assert page.all("td", "none") and "–" not in marked
    assert len(page.all("section", "run")) == 3


def test_keyboard_and_reading_aloud(run: Recording) -> None:
    page = Page(gallery_html(Session([run])))
    ids = {attrs["id"] for _, attrs, _ in page.elements if "id" in attrs}
    links = [a.attrs["href"] for a in page.all("a")]
    assert links and all(link[1:] in ids for link in links)
    for stage in page.all("div", "stage"):
        assert stage.attrs["role"] == "img" and stage.attrs["aria-label"]
    for image in page.all("img"):
        assert "alt" in image.attrs
    assert page.all("html")[0].attrs["lang"] == "en"


def test_several_images_and_an_unknown_geometry(run: Recording, monkeypatch) -> None:
    from var_studio.recording.layout import VisualLayout

    known = run.layout
    unknown = VisualLayout(known.image_sizes, known.positions, (), known.boxes, ((),), known=False)
    monkeypatch.setattr(type(run), "layout", property(lambda _: unknown))
    page = Page(gallery_html(Session([run])))
    assert decoded(page.all("img", "heat")[0].attrs["src"]).shape[:2] == (1, 40)
    assert page.all("div", "picture") == []


def test_a_token_without_a_row_is_told(run: Recording) -> None:
    page = Page(gallery_html(Session([run]), tokens=lambda _: [1, int(run.query_positions[0])]))
    assert any("has no row" in p.text for p in page.all("p"))
    assert len(page.all("article", "card")) == 2


def test_the_same_session_gives_the_same_page(run: Recording, tmp_path: Path) -> None:
    with open_session(save_session(tmp_path / "s.vars", runs=[run])) as session:
        told: list[tuple[int, int]] = []
        path = save_gallery(session, tmp_path / "p.html", progress=lambda *at: told.append(at))
        again = save_gallery(session, tmp_path / "q.html")
        assert path.read_bytes() == again.read_bytes()
        assert [done for done, _ in told] == list(range(len(told))) and told[-1][1] == len(told)
    with pytest.raises(VarStudioError, match="no run"):
        gallery_html(Session([]))


def test_the_size_of_a_page(tmp_path: Path) -> None:
    """24 × 24 cells, 32 × 32 heads: what a card of a 7B model costs."""
    run = make_run(
        tmp_path / "r", layers=32, heads=32, rows=24, cols=24, queries=20, intervention=None
    )
    cards = len([p for p in run.generated_positions if run.query_of(int(p)) is not None])
    size = len(gallery_html(Session([run])))
    assert size / cards < 40_000, f"{size / cards:.0f} bytes a card"


def test_the_command(tmp_path: Path, run: Recording, capfd) -> None:
    from var_studio.cli import main

    session = str(save_session(tmp_path / "s.vars", runs=[run]))
    out = tmp_path / "page.html"
    chosen = ["--tokens", "g0-g1", "--layer", "2", "--title", "A <b>", "--json"]
    assert main(["gallery", session, "--out", str(out), *chosen]) == 0
    told = capfd.readouterr()
    assert json.loads(told.out) == {"files": [str(out)]} and "kB" in told.err
    page = Page(out.read_text("utf-8"))
    assert len(page.all("article", "card")) == 2 and page.all("h1")[0].text == "A <b>"
    assert main(["gallery", session, "--out", str(out)]) == 2
    assert "exists" in capfd.readouterr().err
    settings = tmp_path / "s.json"
    settings.write_text(Redistribution(rho=0.123).model_dump_json())
    more = ["--settings", str(settings), "--overwrite"]
    assert main(["gallery", session, "--out", str(out), *more]) == 0
    assert "ρ = 0.123" in out.read_text("utf-8")
    assert main(["gallery", session, "--out", str(tmp_path / "page.pdf")]) == 2


def test_each_of_two_images_is_named_and_what_is_grey_is_said(
    run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = run.layout
    view = known.views[0]
    halves = [replace(view, tokens=view.tokens[:, :4]), replace(view, image=1)]
    halves[1] = replace(halves[1], tokens=view.tokens[:, 4:])
    strip = ((0.0, 0.0, 320.0, 20.0),)
    layout = replace(
        known, image_sizes=known.image_sizes * 2, views=tuple(halves), unseen=(strip, ())
    )
    monkeypatch.setattr(type(run), "layout", property(lambda _: layout))
    monkeypatch.setattr(type(run), "image_entries", run.image_entries * 2)
    picture = run.image(0)
    monkeypatch.setattr(type(run), "has_image", lambda *_: True)
    monkeypatch.setattr(type(run), "image", lambda *_: picture)
    position = int(run.query_positions[3])
    page = Page(gallery_html(Session([run]), tokens=lambda _: [position]))
    names = [each.text for each in page.all("h5")]
    assert names == ["Image 1 of 2", "Image 2 of 2"]
    assert "image 1 of 2" not in page.all("h4")[0].text
    keys = [e.text for e in page.all("span", "key") if "cropped" in e.text]
    assert keys == ["cropped away, never seen by the model"], "of the first image alone"
    assert not [e.text for e in page.all("p") if e.text.startswith("Hatched")]


def test_layers_and_heads_are_numbered_where_they_lie(run: Recording) -> None:
    position = int(run.query_positions[3])
    page = Page(gallery_html(Session([run]), tokens=lambda _: [position]))
    marks = [
        e for e in page.all("span") if re.match(r"(top|left):[\d.]+%$", e.attrs.get("style", ""))
    ]
    assert len(marks) == 2 * (run.n_layers + run.n_heads)
    for mark in marks:
        side, part = mark.attrs["style"].removesuffix("%").split(":")
        count = run.n_layers if side == "top" else run.n_heads
        assert float(part) == pytest.approx(100 * (int(mark.text) + 0.5) / count, abs=1e-2)


def test_a_recording_without_a_question_shows_none(
    run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    for asked in ("What is this?", ""):
        told = {**run.provenance, "prompt": asked}
        monkeypatch.setattr(type(run), "provenance", property(lambda _, told=told: told))
        page = Page(gallery_html(Session([run]), tokens=lambda _: []))
        assert len(page.all("p", "question")) == bool(asked)
