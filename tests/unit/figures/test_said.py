"""What figures say in words: where sinks lie, what was done to a run, which image is shown."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from var_studio.analysis.views import choose_views
from var_studio.figures.words import layers_named, sinks_line
from var_studio.recording.layout import View, VisualLayout


def tiled() -> VisualLayout:
    """Two images of 40 × 20: the first as a whole (2 tokens) and in tiles (8), the second 2."""
    views, start = [], 0
    for name, image, rows, cols in (("whole", 0, 1, 2), ("tiles", 0, 2, 4), ("image", 1, 1, 2)):
        tokens = start + np.arange(rows * cols).reshape(rows, cols)
        views.append(View(name, image, (0.0, 0.0, 40.0, 20.0), tokens))
        start += rows * cols
    return VisualLayout(
        image_sizes=((40, 20), (40, 20)),
        positions=np.arange(start, dtype=np.int64),
        views=tuple(views),
        boxes=np.zeros((start, 4)),
        unseen=((), ()),
    )


@pytest.mark.parametrize(
    ("sinks", "view", "where"),
    [
        ((3, 5, 9), 0, "in other views."),
        ((3, 10), 0, "in other views of this image and in other images."),
        ((1, 10), 0, "in other images."),
        ((3, 5, 9), 2, "in other images."),
        ((0, 3), None, "in other views."),
    ],
)
def test_sinks_that_are_not_boxed_lie_where_the_caption_says(sinks, view, where):
    layout = tiled()
    mask = np.zeros(layout.count, dtype=bool)
    mask[list(sinks)] = True
    reading = SimpleNamespace(
        focus=SimpleNamespace(layer=3),
        visual_sinks=mask,
        run=SimpleNamespace(layout=layout, provenance={}),
    )
    shown = choose_views(layout, 0, view)
    # By hand: what each sink that is not shown is of.
    of = {
        "image" if k >= 10 else "whole" if k < 2 else "tiles" for k in sinks if not shown.tokens[k]
    }
    here = {layout.views[v].name for v in shown.views}
    assert not of & here
    assert sinks_line(reading, shown).endswith(f"the rest lie {where}")


def test_layers_are_named_in_stretches():
    assert layers_named(np.array([2, 3, 4, 7, 9, 10])) == "layers 2–4, 7, 9–10"
    assert layers_named(np.array([5])) == "layer 5"


def test_every_map_says_which_image_it_shows_and_what_is_hatched(run, monkeypatch):
    from var_studio.analysis.choice import read
    from var_studio.figures.build import build

    one = ("map", "maps", "many_tokens", "without_sinks", "before_after", "sorted_heads")
    names = (*one, "hidden_tokens")
    hatched = "Hatched: cropped away, never seen by the model."
    for name in names:
        figure = build(name, read(run, layer=2))
        assert "image 1 of" not in figure.title and hatched not in figure.notes, name
    known = run.layout
    two = VisualLayout(
        image_sizes=(*known.image_sizes, (10, 10)),
        positions=known.positions,
        views=known.views,
        boxes=known.boxes,
        unseen=(((0.0, 0.0, 5.0, 240.0),), ()),
    )
    monkeypatch.setattr(type(run), "layout", property(lambda _: two))
    for name in names:
        figure = build(name, read(run, layer=2))
        assert "image 1 of 2" in figure.title, name
        assert hatched in figure.notes, name


def test_names_of_two_answers_are_cut_where_they_can_still_be_told_apart():
    from var_studio.figures.two_answers import _LONGEST_NAME, _short

    for one, other in (
        ("LLaVA-1.5, the cup on the table: baseline", "LLaVA-1.5, the cup on the table: VAR"),
        ("knockout of visual sinks, seed 1", "knockout of visual sinks, seed 2"),
        ("a" * 40 + "b" + "c" * 40, "a" * 40 + "d" + "c" * 40),
        ("a" * 40, "a" * 41),
    ):
        found = _short(one, other)
        assert found[0] != found[1]
        assert max(map(len, found)) <= _LONGEST_NAME
    assert _short("baseline", "VAR") == ("baseline", "VAR")
    assert _short("first " + "x" * 40, "second") == ("first " + "x" * 15 + "…", "second")


def test_the_scale_of_a_scatter_holds_what_is_drawn_and_little_more(run):
    from var_studio.analysis.choice import read
    from var_studio.figures.build import build

    ((panel,),) = build("scatter", read(run, layer=2)).rows
    drawn = np.concatenate([marks.y for marks in panel.marks])
    assert panel.y.low <= max(drawn.min(), 1e-6) < 10 * panel.y.low
    assert panel.y.high / 10 < drawn.max() <= panel.y.high
