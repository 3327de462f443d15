"""Composed figures: what they are made of, against plain loops, and how they come out."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from tests.answers import answered
from tests.synthetic import make_run
from tests.unit.figures.test_render import assert_nothing_is_cut_off_or_overlaps, pixels_of
from tests.unit.figures.two_processes import drawn_alike
from var_studio.analysis.choice import read
from var_studio.errors import VarStudioError
from var_studio.figures.build import COMPOSED, FIGURES, MapOptions, build
from var_studio.figures.data import csv_text, npz_bytes
from var_studio.figures.export import export_figure
from var_studio.figures.render import render, to_bytes
from var_studio.figures.spec import (
    WIDTHS,
    Figure,
    Gap,
    HeadsPanel,
    ImagePanel,
    TextPanel,
    WordsPanel,
)
from var_studio.figures.two_answers import build_answers
from var_studio.recording.settings import Knockout, Redistribution

SHAPE = {"layers": 4, "heads": 4, "rows": 4, "cols": 5, "image_size": (100, 80), "queries": 20}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory):
    """A baseline, VAR free and forced, and both knockouts forced to the baseline's answer."""
    folder = tmp_path_factory.mktemp("composed")
    with pytest.MonkeyPatch.context() as patch:
        found = list(answered(folder, patch, **SHAPE))
        for number, tokens in enumerate(("visual-sinks", "random-visual")):
            with pytest.MonkeyPatch.context() as inner:
                from tests import answers

                found.append(
                    answers._run(
                        folder / tokens, inner, answers._SAID, 7 + number, name=tokens,
                        intervention=Knockout(tokens=tokens), teacher=found[0].id, **SHAPE,
                    )
                )  # fmt: skip
    return found


def made(name: str, runs, width="two-columns", **choice) -> Figure:
    return build(name, read(runs[0], layer=2), width=width, others=runs[1:], **choice)


def pictures(figure: Figure) -> list[ImagePanel]:
    return [p for row in figure.rows for p in row if isinstance(p, ImagePanel) and p.heats]


@pytest.mark.parametrize("name", ["maps", "many_tokens"])
def test_each_word_has_its_own_map_on_one_scale(runs, name):
    run = runs[0]
    tokens = [int(p) for p in run.generated_positions[[2, 0, 4]]]
    figure = made(name, runs, tokens=tokens, options=MapOptions(robust=False, hide_sinks=False))
    panels = pictures(figure)
    assert len(panels) == 3 and len({p.scale for p in panels}) == 1
    largest = 0.0
    for panel, position in zip(panels, tokens, strict=True):
        row = run.attention(run.query_of(position))
        heads = np.mean([row[2, h] for h in range(4)], axis=0)
        places = run.layout.positions
        cells = [[heads[places[5 * r + c]] for c in range(5)] for r in range(4)]
        np.testing.assert_allclose(panel.heats[0].values, cells, rtol=1e-5)
        assert run.tokens[position].text.strip() in panel.title
        largest = max(largest, float(np.max(cells)))
    assert panels[0].scale.limits.high == pytest.approx(largest)
    sinks = np.flatnonzero((run.sinks(2) & run.visual)[run.layout.positions])
    assert len(sinks) and panels[0].sinks == tuple(
        (c % 5 * 20.0, c // 5 * 20.0, c % 5 * 20.0 + 20, c // 5 * 20.0 + 20) for c in sinks
    )
    # The words are underlined in what was said, and no others.
    (said,) = [p for row in figure.rows for p in row if isinstance(p, TextPanel)]
    marked = [w.text for w in said.paragraphs[-1].words if w.underlined]
    assert marked == [run.tokens[p].text for p in sorted(tokens)]


def test_the_cells_of_a_map_have_their_colours_in_the_file(runs):
    from matplotlib import colormaps

    tokens = [int(runs[0].generated_positions[1])]
    figure = made("maps", runs, tokens=tokens, options=MapOptions(opacity=1.0, sinks_boxed=False))
    (panel,) = pictures(figure)
    index = [p is panel for p in figure.rows[0]].index(True)
    drawing = render(figure)
    box = drawing.axes[index].get_position()
    pixels = pixels_of(figure)
    height, width = pixels.shape[:2]
    limits, values = panel.scale.limits, panel.heats[0].values

    def worst(grid: np.ndarray) -> float:
        off = []
        for r, c in np.ndindex(4, 5):
            y = int((1 - box.y1 + (r + 0.5) / 4 * (box.y1 - box.y0)) * height)
            x = int((box.x0 + (c + 0.5) / 5 * (box.x1 - box.x0)) * width)
            place = min(max((grid[r, c] - limits.low) / (limits.high - limits.low), 0), 1)
            colour = 255 * np.array(colormaps["viridis"](float(place))[:3])
            off.append(float(np.abs(pixels[y, x] - colour).max()))
        return max(off)

    assert worst(values) <= 4
    assert worst(values[:, ::-1]) > 40 < worst(values[::-1])


def test_without_sinks_their_cells_are_open_and_the_scale_is_that_of_the_rest(runs):
    run = runs[0]
    figure = made("without_sinks", runs, tokens=[int(run.generated_positions[0])])
    whole, bare = pictures(figure)
    sinks = (run.sinks(2) & run.visual)[run.layout.positions].reshape(4, 5)
    assert sinks.any()
    assert np.array_equal(np.isnan(bare.heats[0].values), sinks)
    assert not np.isnan(whole.heats[0].values).any()
    assert whole.scale.limits.high == pytest.approx(whole.heats[0].values.max())
    assert bare.scale.limits.high <= np.nanmax(bare.heats[0].values) < whole.scale.limits.high
    assert whole.sinks and not bare.sinks


def test_heads_stand_in_the_order_of_r(runs):
    run = runs[0]
    figure = made("sorted_heads", runs)
    query = run.query_of(int(run.generated_positions[0]))
    order = []
    for layer in range(4):
        for head in range(4):
            row = run.attention(query, layer, head)
            mass = row[run.visual].sum()
            if mass >= 0.2 and (run.sinks(layer) & run.visual).any():
                left = row[run.visual & ~run.sinks(layer)].sum()
                order.append((-float(left / mass), layer, head))
    order.sort()
    each = len(pictures(figure)) // 2
    wanted = order[:each] + order[-each:]
    titles = [panel.title for panel in pictures(figure)]
    assert titles == [f"r = {-r:.2f} · L{layer} H{head}" for r, layer, head in wanted]
    for panel, (_, layer, head) in zip(pictures(figure), wanted, strict=True):
        row = run.attention(query, layer, head)[run.layout.positions].reshape(4, 5)
        np.testing.assert_allclose(panel.heats[0].values, row / row.sum(), rtol=1e-4)
    curve = figure.rows[-1][0]
    drawn = sorted((x, y) for m in curve.marks for x, y in zip(m.x, m.y, strict=True))
    np.testing.assert_allclose([y for _, y in drawn], [-r for r, *_ in order], rtol=1e-5)


def test_coloured_text_has_the_share_of_each_token(runs):
    run = runs[0]
    figure = made("text_shares", runs)
    ((panel,),) = figure.rows
    found = [w.value for w in panel.paragraphs[-1].words]
    asked = [t for t in run.tokens if t.role == "generated" and not t.special]
    for value, token in zip(found, asked, strict=True):
        query = run.query_of(token.position)
        expected = None if query is None else float(run.image_centric(query).mean())
        assert value == (None if expected is None else pytest.approx(expected, abs=1e-6))


def test_before_and_after_are_those_of_both_runs(runs):
    baseline, second = runs[:2]
    position = int(baseline.generated_positions[1])
    figure = made("before_after", runs, tokens=[position])
    before, after = pictures(figure)
    row = baseline.attention(baseline.query_of(position), 2).mean(axis=0)
    np.testing.assert_allclose(
        before.heats[0].values.ravel(), row[baseline.layout.positions], rtol=1e-4
    )
    used = second.redistributed(second.query_of(position), second.interventions[0], 2).mean(axis=0)
    np.testing.assert_allclose(
        after.heats[0].values.ravel(), used[baseline.layout.positions], rtol=1e-3
    )
    assert any(isinstance(p, WordsPanel) for r in figure.rows for p in r)
    assert figure.metadata["comparison"] == "global (two runs)"
    # Alone it is local, and says so.
    alone = build("before_after", read(baseline, layer=2), tokens=[position])
    assert alone.metadata["comparison"] == "local (live)"
    assert "Local" in alone.notes[0] and "Global" not in " ".join(alone.notes)


def test_answers_that_part_at_once_are_compared_at_the_end_of_the_question(
    runs, tmp_path, monkeypatch
):
    from tests import answers

    said = ["just", "to", "cup", "mug"]
    monkeypatch.setitem(answers.__dict__, "_ID", {**answers._ID})
    second = answers._run(
        tmp_path / "apart", monkeypatch, said, 9, intervention=Knockout(tokens="visual-sinks"),
        **SHAPE,
    )  # fmt: skip
    baseline = runs[0]
    same = {t.text for t in baseline.tokens if t.role == "generated"}
    monkeypatch.setattr(
        "var_studio.figures.layouts_words.Scene.positions",
        lambda *_: tuple(map(int, baseline.generated_positions[:2])),
    )
    assert baseline.tokens[int(baseline.generated_positions[0])].text in same
    figure = build("before_after", read(baseline, layer=2), others=[second])
    last = max(t.position for t in baseline.tokens if t.role == "prompt")
    assert figure.arrays["token_positions"].tolist() == [last]
    assert any("end of the question" in note for note in figure.notes)
    before, after = pictures(figure)
    places = baseline.layout.positions
    for panel, rows in (
        (before, baseline.attention(baseline.query_of(last), 2)),
        (after, read(second, token=last, layer=2).redistributed[2]),
    ):
        np.testing.assert_allclose(
            panel.heats[0].values.ravel(), rows.mean(axis=0)[places], rtol=1e-3, atol=1e-7
        )
    # Where no row is left that both have, one run alone, and it says so.
    with monkeypatch.context() as patch:
        patch.setattr("var_studio.figures.layouts_words._end_of_question", lambda *_: ())
        alone = build("before_after", read(baseline, layer=2), others=[second])
        assert alone.metadata["comparison"] == "local (live)"
        assert any("this run alone" in note for note in alone.notes)
    with pytest.raises(VarStudioError, match="no counterpart") as refusal:
        first = int(baseline.generated_positions[0])
        build("before_after", read(baseline, layer=2), others=[second], tokens=[first])
    assert "--tokens" in str(refusal.value)
    hidden = second.sinks(2)[places]
    assert hidden.any() and (after.heats[0].values.ravel()[hidden] == 0).all()


@pytest.mark.parametrize("name", [*FIGURES, *COMPOSED])
def test_a_figure_of_an_intervened_run_says_which_rows_it_shows(runs, name):
    if name in ("knockout", "next_token"):
        return
    hidden, said = runs[3], "Rows as before the intervention (knockout of visual sinks)."
    notes = build(name, read(hidden, layer=2)).notes
    if name in ("map", "ledger", "before_after"):
        assert any("nockout of visual sinks" in note for note in notes) and said not in notes
    elif name in ("histogram", "layers", "hidden"):
        assert "Of a run made with an intervention (knockout of visual sinks)." in notes
    else:
        assert said in notes
    if name == "ledger":
        assert "moved" not in " ".join(notes) and "other tokens gain" in notes[0]
    if name in ("map", "ledger"):
        # Under settings of one's own the row after is not that of the run.
        assert said in build(name, read(hidden, layer=2, settings=Redistribution())).notes
    # Control: a baseline says nothing of it.
    assert "ntervention" not in " ".join(made("maps", runs).notes)


def test_a_knockout_takes_runs_forced_to_the_same_answer_given_twice(runs, tmp_path, monkeypatch):
    from tests import answers

    baseline, hidden = runs[0], runs[3]
    twin = answers._run(tmp_path / "twin", monkeypatch, answers._SAID, 1, **SHAPE)
    other = answers._run(tmp_path / "other", monkeypatch, answers._SECOND, 1, **SHAPE)
    random = {
        of.id: answers._run(
            tmp_path / of.id, monkeypatch, answers._SAID, 9,
            intervention=Knockout(tokens="random-visual"), teacher=of.id, **SHAPE,
        )
        for of in (twin, other)
    }  # fmt: skip
    for of, kinds in ((twin, {"visual-sinks", "random-visual"}), (other, {"visual-sinks"})):
        figure = build("knockout", read(baseline), others=[hidden, of, random[of.id]])
        assert set(figure.metadata["runs"]) == kinds


def test_a_knockout_shows_the_change_of_each_word(runs):
    baseline, hidden, random = runs[0], runs[3], runs[4]
    figure = made("knockout", runs)
    together, words = figure.rows[0]
    for marks, bar, run in zip(words.marks, together.marks, (hidden, random), strict=True):
        pairs = zip(baseline.tokens, run.tokens, strict=True)
        changes = [b.logprob - a.logprob for a, b in pairs if a.role == "generated"]
        np.testing.assert_allclose(marks.y, changes, atol=1e-9)
        assert bar.y[0] == pytest.approx(np.mean(changes))
    # Numbers are written alike in both panels.
    assert together.y.like == words.y.like > 0
    # One kind alone: the other is missed, with no code in the picture; none: a refusal says how.
    assert sum("nockout of visual sinks" in note for note in figure.notes) == 1
    assert any(note.startswith("Knockout of visual sinks: ") for note in figure.notes)
    some = build("knockout", read(baseline), others=[hidden])
    assert any(note == "Not in the session: as many random ones hidden." for note in some.notes)
    assert "record_pair" not in " ".join(some.notes)
    with pytest.raises(VarStudioError, match="knocked out") as refusal:
        build("knockout", read(baseline), others=runs[1:3])
    assert str(refusal.value).count("record_pair") == 1 and "random-visual" in str(refusal.value)


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("width", [*WIDTHS, "70mm"])
def test_nothing_of_a_composed_figure_is_cut_off_or_overlaps(runs, name, width):
    form = width if width in WIDTHS else "column"
    drawing = render(made(name, runs, form), width)
    assert_nothing_is_cut_off_or_overlaps(drawing, 150)
    for text in drawing.findobj(lambda each: hasattr(each, "get_fontsize")):
        assert text.get_fontsize() >= 5.0


def drawn_arrays(figure: Figure):
    """What each panel draws: (where, numbers or words)."""
    for row in figure.rows:
        for panel in row:
            for heat in getattr(panel, "heats", ()):
                yield panel.title, heat.values
            for marks in getattr(panel, "marks", ()):
                for part in ("y", "low", "high"):
                    if getattr(marks, part) is not None:
                        yield f"{marks.name or panel.y.label} {part}", getattr(marks, part)
                if marks.form in ("dots", "stems"):
                    yield f"{marks.name or panel.x.label} x", marks.x
            for series in getattr(panel, "series", ()):
                yield series.name, series.counts
            if isinstance(panel, HeadsPanel):
                yield panel.scale.label, panel.values
                yield "outlined", panel.outlined
            if isinstance(panel, TextPanel) and panel.scale is not None:
                words = [w.value for p in panel.paragraphs for w in p.words]
                yield "text", np.array([np.nan if w is None else w for w in words], dtype=float)
            if isinstance(panel, WordsPanel):
                for side in ("first", "second"):
                    yield side, np.array([getattr(pair, side) or "" for pair in panel.columns])


def is_in(drawn: np.ndarray, kept: np.ndarray) -> bool:
    """Whether every number or word that is drawn is one of those kept."""
    drawn, kept = np.ravel(drawn), np.ravel(kept)
    if (drawn.dtype.kind == "U") != (kept.dtype.kind == "U"):
        return False
    if drawn.dtype.kind == "U":
        return bool(np.isin(drawn, kept).all())
    drawn, kept = (v[np.isfinite(v)] for v in (drawn.astype(float), kept.astype(float)))
    if not len(drawn):
        return True
    if not len(kept):
        return False
    kept = np.sort(kept)
    at = np.clip(np.searchsorted(kept, drawn), 1, len(kept) - 1) if len(kept) > 1 else 0
    off = np.minimum(np.abs(kept[at] - drawn), np.abs(kept[np.maximum(at - 1, 0)] - drawn))
    return bool((off <= 1e-6 * np.abs(drawn) + 1e-12).all())


@pytest.mark.parametrize("name", ["answers", *FIGURES, *COMPOSED])
def test_all_that_is_drawn_is_beside_the_figure(runs, name):
    figure = build_answers(runs[0], runs[1]) if name == "answers" else made(name, runs)
    saved = np.load(io.BytesIO(npz_bytes(figure)), allow_pickle=False)
    kept = {key: saved[key] for key in saved.files if key != "settings"}
    lines = list(csv.DictReader(io.StringIO(csv_text(figure))))
    assert lines
    for key in figure.table:
        column = [line[key] for line in lines]
        numbers = figure.table[key].dtype.kind in "biuf"
        kept[f"{key}.csv"] = (
            np.array([float(v or "nan") for v in column]) if numbers else np.array(column)
        )
    count = 0
    for where, values in drawn_arrays(figure):
        count += 1
        assert any(is_in(values, each) for each in kept.values()), f"{where} is nowhere"
    assert count
    # Arrays are there too for those who read no CSV.
    assert len(saved.files) > 1


def plain(part) -> object:
    """A spec as JSON: nothing but data may be in it."""
    if isinstance(part, np.ndarray):
        assert part.dtype.kind in "biufU", part.dtype
        return part.tolist()
    if dataclasses.is_dataclass(part):
        fields = {f.name: plain(getattr(part, f.name)) for f in dataclasses.fields(part)}
        return {"kind": type(part).__name__, **fields}
    if isinstance(part, tuple | list):
        return [plain(each) for each in part]
    if hasattr(part, "items"):
        return {str(key): plain(value) for key, value in part.items()}
    assert part is None or isinstance(part, str | int | float | np.generic), type(part)
    return part.item() if isinstance(part, np.generic) else part


@pytest.mark.parametrize("name", COMPOSED)
def test_a_composed_figure_is_plain_data(runs, name):
    figure = made(name, runs)
    assert json.loads(json.dumps(plain(figure)))["rows"]
    json.dumps(dict(figure.metadata), allow_nan=False)
    assert len({len(column) for column in figure.table.values()}) == 1
    assert figure.metadata["figure"] == name


@pytest.mark.slow
def test_composed_figures_are_the_same_bytes_in_another_process(runs, tmp_path):
    script = (
        "import sys\n"
        "from var_studio.figures.export import export_figure\n"
        "from var_studio.recording.recording import Recording\n"
        "runs = [Recording.open(p) for p in sys.argv[2:]]\n"
        "for name in ('before_after', 'sorted_heads', 'text_shares', 'knockout'):\n"
        "    for suffix in ('pdf', 'svg', 'png'):\n"
        "        export_figure(runs[0], name, f'{sys.argv[1]}/{name}.{suffix}', layer=2,\n"
        "            others=runs[1:])\n"
    )
    drawn = drawn_alike(script, tmp_path, *(run.path for run in runs))
    assert len(drawn) == 12


@pytest.mark.slow
def test_a_tall_figure_breaks_into_pages_of_text_that_can_be_read(tmp_path):
    run = make_run(tmp_path / "r", **{**SHAPE, "queries": 150})
    figure = build("many_tokens", read(run, layer=2), width="column")
    content = to_bytes(figure, "pdf", width="column")
    pages = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content)
    assert len(pages) > 2 and b"/Type3" not in content
    assert all(float(wide) == pytest.approx(3.35 * 72) for wide, _ in pages)
    assert all(float(high) <= 9.2 * 72 + 0.01 for _, high in pages)
    assert "more than a page: the PDF breaks it into" in to_bytes(figure, "svg").decode()
    if shutil.which("pdftotext"):
        path = tmp_path / "f.pdf"
        path.write_bytes(content)
        said = subprocess.run(["pdftotext", path, "-"], capture_output=True, text=True).stdout
        assert f"(1 of {len(pages)})" in said and f"({len(pages)} of {len(pages)})" in said
        for position in run.generated_positions[:-1]:
            index = int(np.searchsorted(run.generated_positions, position))
            assert f" g{index}" in said, index
    # Control: a short one is one page, and says nothing of it.
    short = build("maps", read(run, layer=2), width="column")
    assert to_bytes(short, "pdf", width="column").count(b"/MediaBox") == 1
    assert b"more than a page" not in to_bytes(short, "svg", width="column")


def test_no_page_holds_words_alone_where_a_row_of_maps_has_room_beside_them(tmp_path):
    from var_studio.figures.page import page_of, styled
    from var_studio.figures.render import _Layout

    run = make_run(tmp_path / "r", **{**SHAPE, "queries": 20})
    page = page_of("two-columns")
    seen = set()
    for rows in range(3, 30):
        figure = build("maps", read(run, layer=2))
        figure = dataclasses.replace(figure, rows=(*[figure.rows[0]] * rows, figure.rows[-1]))
        with styled(page):
            layout = _Layout(figure, page)
            pages = layout.paged()
            assert sum(map(len, pages)) == rows + 1
            assert all(layout.height(each) <= page.height + 1e-9 for each in pages)
        seen.add(len(pages))
        assert not all(row.is_text for row in pages[-1]), rows
    assert len(seen) > 1


def test_a_row_with_fewer_pictures_keeps_their_size(runs):
    tokens = [int(p) for p in runs[0].generated_positions[:6]]
    figure = made("maps", runs, tokens=tokens)
    assert isinstance(figure.rows[1][-1], Gap)
    drawing = render(figure)
    wide = {round(axes.get_position().width, 6) for axes in drawing.axes if axes.images}
    assert len(wide - {max(wide)}) <= 1
    names = [axes.get_title(loc="left") for axes in drawing.axes]
    bars = [axes for axes in drawing.axes if axes.get_xlabel().startswith("attention")]
    assert len(bars) == 1 and len([n for n in names if " g" in n]) == 6


def test_options_that_are_as_by_default_change_nothing(runs, tmp_path):
    """The command line gives them, the script beside a figure does not."""
    files = [tmp_path / "a.svg", tmp_path / "b.svg", tmp_path / "c.svg"]
    for path, options in zip(files, (None, MapOptions(), MapOptions(gamma=0.5)), strict=True):
        export_figure(runs[0], "fig1", path, layer=2, options=options, width="150mm")
    plain_, default, bent = (path.read_bytes() for path in files)
    assert plain_ == default != bent


def test_what_a_composed_figure_cannot_show_is_refused(runs, tmp_path):
    run, path = runs[0], tmp_path / "f.pdf"
    last = run.length - 1  # it ended the answer: no row of its own
    for choice, said in (
        ({"tokens": [last]}, "no row"),
        ({"tokens": [10_000]}, "no token 10000"),
        ({"tokens": []}, "No token was named"),
        ({"width": "poster"}, "no width"),
        ({"options": MapOptions(image=3)}, "no image 4"),
    ):
        if choice == {"tokens": [last]} and run.query_of(last) is not None:
            continue
        with pytest.raises(VarStudioError, match=said):
            export_figure(run, "maps", path, **choice)
    with pytest.raises(VarStudioError, match="one token"):
        export_figure(run, "heads", path, tokens=[int(run.generated_positions[0])])
    with pytest.raises(VarStudioError, match="There is no figure"):
        export_figure(run, "fig99", path)
    assert not path.exists()
