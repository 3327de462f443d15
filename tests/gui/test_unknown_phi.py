"""Where φ is known for some tokens only, or no sink dimension is known: nothing is made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle, stage
from tests.synthetic import make_run
from var_studio.analysis.phi import phi_counts
from var_studio.analysis.reading import Focus, Reading
from var_studio.figures.build import FIGURES
from var_studio.figures.words import NO_DIMS
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.cell_words import phi_words
from var_studio.gui.panels.contribution import ContributionPanel
from var_studio.gui.panels.head_scatter import HeadScatterPanel
from var_studio.gui.panels.heads import HeadsPanel
from var_studio.gui.panels.layers import LayersPanel
from var_studio.gui.panels.ledger import LedgerPanel
from var_studio.gui.panels.phi_alpha import PhiAlphaPanel
from var_studio.gui.panels.phi_histogram import PhiHistogramPanel
from var_studio.gui.panels.regions import RegionsPanel
from var_studio.gui.panels.shares import SharesPanel
from var_studio.gui.widgets.ticks import number_text
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

LAYER = 2


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    return make_run(tmp_path / "run", layers=4, heads=3, rows=6, cols=6, precision="float32")


def other_dim(run: Recording) -> int:
    """A dimension recorded for some tokens of the layer and not for others."""
    dims = run.top_dims()[0][LAYER]
    found = next(int(d) for d in dims.ravel() if int(d) not in run.sink_dims)
    assert 0 < (dims == found).any(axis=-1).sum() < len(dims)
    return found


def by_hand(run: Recording, dim: int, tau: float) -> dict[str, int]:
    """Tokens of the layer by what is known of φ, one by one."""
    dims, values = run.top_dims()
    found = {"known": 0, "below": 0, "undecided": 0}
    for which, sizes in zip(dims[LAYER], np.abs(values[LAYER]), strict=True):
        if dim in which:
            found["known"] += 1
        else:
            found["below" if min(sizes) < tau else "undecided"] += 1
    return found


@pytest.mark.parametrize("tau", [0.02, 5.0])
def test_known_below_and_undecided_tokens_are_counted(run: Recording, tau: float) -> None:
    dim = other_dim(run)
    reading = Reading(run, Focus(0, LAYER), Redistribution(sink_dims=(dim,), tau=tau))
    counts, expected = phi_counts(reading, LAYER), by_hand(run, dim, tau)
    assert {name: getattr(counts, name) for name in expected} == expected
    assert counts.total == run.length and counts.unread == 0
    assert reading.undecided[LAYER].sum() == reading.n_undecided[LAYER] == expected["undecided"]
    assert bool(expected["undecided"]) is (tau < 1)


def test_what_a_convention_never_looks_for_is_no_open_question(
    qtbot: QtBot, run: Recording
) -> None:
    """In the released code layers 0 and 1 have no sinks, nor have generated tokens."""
    dim, tau = other_dim(run), 0.02
    dims, values = run.top_dims()
    sizes = np.abs(values).min(axis=-1)
    panel = LayersPanel()
    workspace = stage(qtbot, panel, run)
    for convention in ("paper", "released-code"):
        workspace.method.set(sink_dims=(dim,), tau=tau, convention=convention)
        settle()
        reading = workspace.reading
        assert reading is not None
        free = convention == "paper"
        for layer in range(run.n_layers):
            expected = sum(
                dim not in dims[layer, j] and sizes[layer, j] >= tau
                for j in range(run.length)
                if free or (layer >= 2 and j < run.prompt_length)
            )
            assert reading.n_undecided[layer] == expected
            panel._hover(layer)
            said = f", {expected} unknown ·" if expected else " of text ·"
            assert said in panel.hover.text()
    assert expected > 0 and run.prompt_length < run.length


def test_a_cell_says_what_is_known_of_its_phi(run: Recording) -> None:
    dim = other_dim(run)
    dims, values = run.top_dims()
    for tau in (0.02, 5.0):
        reading = Reading(run, Focus(0, LAYER), Redistribution(sink_dims=(dim,), tau=tau))
        for k, position in enumerate(run.layout.positions):
            words = " · ".join(phi_words(reading, reading.token(k)))
            if dim in dims[LAYER, position]:
                assert "below" not in words and "unknown" not in words
                continue
            bound = float(np.abs(values[LAYER, position]).min())
            kind = "not a sink" if bound < tau else "sink or not: unknown"
            assert words == f"φ below {number_text(bound)} · {kind}"


@pytest.mark.parametrize("panel_class", [PhiHistogramPanel, LayersPanel])
def test_panels_count_the_tokens_whose_phi_is_known(
    qtbot: QtBot, run: Recording, panel_class: type[Panel]
) -> None:
    panel = panel_class()
    workspace = stage(qtbot, panel, run)
    workspace.selection.set_layer(LAYER)
    settle()
    everything = f"all {run.length} tokens"
    assert everything in panel.frame.subject.text()
    dim = other_dim(run)
    workspace.method.set(sink_dims=(dim,))
    settle()
    known = by_hand(run, dim, 1.0)["known"]
    assert f"φ known for {known} of {run.length} tokens" in panel.frame.subject.text()
    assert everything not in panel.frame.subject.text()


@pytest.mark.parametrize(
    "panel_class", [PhiHistogramPanel, LayersPanel, PhiAlphaPanel, HeadScatterPanel]
)
def test_without_sink_dimensions_plots_say_what_to_do(
    qtbot: QtBot, run: Recording, panel_class: type[Panel]
) -> None:
    panel = panel_class()
    workspace = stage(qtbot, panel, run)
    workspace.method.set(sink_dims=())
    settle()
    assert panel._stack.currentWidget() is panel._empty
    assert panel._empty.text() == NO_DIMS
    workspace.method.set(sink_dims=None)
    settle()
    assert panel._stack.currentWidget() is panel.body


def test_without_sink_dimensions_heads_and_ledger_claim_nothing(
    qtbot: QtBot, run: Recording
) -> None:
    heads, ledger = HeadsPanel(), LedgerPanel()
    contribution, regions = ContributionPanel(), RegionsPanel()
    for panel in (heads, ledger, contribution, regions):
        workspace = stage(qtbot, panel, run)
        workspace.regions.add({3, 4})
        workspace.method.set(sink_dims=())
        settle()
    assert np.isnan(heads._values).all()
    assert heads._stack.currentWidget() is heads._empty
    assert heads._empty.text().startswith(NO_DIMS)
    assert heads.workspace is not None
    heads.workspace.view.set(head_value="visual_mass")
    settle()
    assert heads._stack.currentWidget() is heads.body
    assert not heads.atlas._outlined.any()
    assert heads.summary.text() == NO_DIMS
    heads.atlas.head_hovered.emit(1, 1)
    assert " r " not in heads.hover.text() and "image-centric" not in heads.hover.text()
    assert "visual mass" in heads.hover.text()
    assert ledger.note.text().startswith(NO_DIMS)
    assert contribution.note.text().startswith(NO_DIMS)
    assert NO_DIMS in regions.sentence.text() and "no visual sink" not in regions.sentence.text()


def test_figures_say_what_is_not_known(run: Recording) -> None:
    dim = other_dim(run)
    some = Reading(run, Focus(0, LAYER), Redistribution(sink_dims=(dim,), tau=0.02))
    none = Reading(run, Focus(0, LAYER), Redistribution(sink_dims=()))
    for name in ("histogram", "layers"):
        assert any("φ known for" in note for note in FIGURES[name](some).notes)
    for name in ("heads", "ledger", "head_scatter"):
        assert any("unknown in layer" in note for note in FIGURES[name](some).notes)
        assert any("No sink dimension" in note for note in FIGURES[name](none).notes)
    assert "unknown" in FIGURES["histogram"](none).title


def undecided_by_hand(run: Recording, dim: int, tau: float) -> dict[int, int]:
    """Tokens of each layer that may be sinks or not, one by one; layers without any left out."""
    dims, values = run.top_dims()
    found = {}
    for layer in range(run.n_layers):
        sizes = np.abs(values[layer]).min(axis=-1)
        alone = [j for j in range(run.length) if dim not in dims[layer, j] and sizes[j] >= tau]
        if alone:
            found[layer] = len(alone)
    return found


def test_panels_say_that_unknown_tokens_count_as_non_sinks(qtbot: QtBot, run: Recording) -> None:
    heads, scatter, ledger = HeadsPanel(), HeadScatterPanel(), LedgerPanel()
    shares, contribution, regions = SharesPanel(), ContributionPanel(), RegionsPanel()
    dim, tau = other_dim(run), 0.02
    panels = (heads, scatter, ledger, shares, contribution, regions)
    for panel in panels:
        workspace = stage(qtbot, panel, run)
        workspace.selection.set_layer(LAYER)
        workspace.regions.add({3, 4})
        settle()
    said = (
        *(heads.note, scatter.frame.subject, ledger.note),
        *(shares.frame.subject, contribution.note, regions.sentence),
    )
    assert not any("unknown" in line.text() for line in said)
    assert heads.note.isHidden()
    for panel in panels:
        assert panel.workspace is not None
        panel.workspace.method.set(sink_dims=(dim,), tau=tau)
        settle()
    found = undecided_by_hand(run, dim, tau)
    assert len(found) == run.n_layers > 1
    told = f"φ of up to {max(found.values())} tokens unknown in layers 0–3: counted as non-sinks"
    for line in said:
        assert told in line.text()
    # And so they are: r of every head, where these tokens are in no account of sinks.
    reading = heads._reading
    assert reading is not None
    known = run.phi(sink_dims=(dim,))[:, : reading.length] >= tau  # NaN: no sink
    for layer, head in np.ndindex(run.n_layers, run.n_heads):
        alpha, visual = reading.attention[layer, head], run.visual[: reading.length]
        expected = alpha[visual & ~known[layer]].sum() / alpha[visual].sum()
        assert heads._values[layer, head] == pytest.approx(expected, abs=1e-6)
    # A ledger counts on the sinks of its heads' layers alone.
    assert ledger.workspace is not None
    ledger.workspace.selection.select_head(1, 0, False)
    settle()
    told = f"φ of {found[1]} tokens unknown in layer 1: counted as non-sinks"
    assert told in ledger.note.text()
