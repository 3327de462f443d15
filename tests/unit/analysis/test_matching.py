"""Which runs may be laid beside each other, once they come from files."""

from dataclasses import replace

import numpy as np

from tests import synthetic
from var_studio.analysis.matching import mismatch
from var_studio.recording.session import open_session, save_session


def test_runs_with_separators_match_after_saving(tmp_path, monkeypatch):
    """A separator sees nothing: its box is NaN, which is unequal to itself."""
    whole = synthetic.make_layout

    def with_separators(*arguments, moved=0.0, **named):
        layout = whole(*arguments, **named)
        boxes = layout.boxes + moved
        boxes[-2:] = np.nan
        return replace(layout, boxes=boxes)

    monkeypatch.setattr(synthetic, "make_layout", with_separators)
    shape = {"layers": 2, "heads": 2, "rows": 3, "cols": 4, "queries": 4}
    runs = [synthetic.make_run(tmp_path / name, name=name, **shape) for name in ("a", "b")]
    monkeypatch.setattr(
        synthetic, "make_layout", lambda *a, **n: with_separators(*a, moved=1.0, **n)
    )
    runs.append(synthetic.make_run(tmp_path / "c", name="c", **shape))
    with open_session(save_session(tmp_path / "s.vars", runs)) as session:
        one, two, other = session.runs
        assert one.layout is not two.layout and np.isnan(one.layout.boxes[-1]).all()
        assert mismatch(one, two) == ""
        assert "cut into cells" in mismatch(one, other)
