"""Sound session files that the fuzz tests mutate: small, and unlike one another."""

from __future__ import annotations

from pathlib import Path

from tests.synthetic import make_run
from var_studio.recording.content import Content
from var_studio.recording.recording import Recording
from var_studio.recording.regions import Region, picture_key
from var_studio.recording.session import Session, save_session
from var_studio.recording.settings import Contrast, HeadAblation, Knockout, Redistribution

OLD = Path(__file__).parents[1] / "unit" / "recording" / "old"
SMALL = {"layers": 2, "heads": 3, "rows": 4, "cols": 5, "queries": 8, "image_size": (24, 16)}


def view_of(run: Recording) -> dict[str, object]:
    """As the window keeps it."""
    return {
        "run": run.id,
        "token": int(run.query_positions[-1]),
        "row_of": "query",
        "layer": 1,
        "heads": [[0, 1], [1, 2]],
        "cells": [3, 4],
        "method": Redistribution().model_dump(mode="json"),
        "generation": run.generation.model_dump(mode="json"),
        "interventions": {"chosen": [], "settings": {}},
        "view": {
            "quantity": "attention",
            "shown": "before",
            "compare": "local",
            "sinks_boxed": True,
            "opacity": 0.65,
            "colour_map": "inferno",
            "difference_map": "RdBu_r",
            "scale": "map",
            "gamma": 1.0,
            "head_value": "non_sink_ratio",
            "head_order": "grid",
            "colour_by": "probability",
            "aggregate": "mean",
            "tool": "select",
            "brush": 1,
        },
    }


def make_seeds(folder: Path) -> list[bytes]:
    """Two runs with regions and a view; keys in several chunks; a run cut off; a part of two runs;
    old schemas."""
    dims = (67, 19)
    region = Redistribution(rho=0.5, target="region", region=(2, 3, 7), sink_dims=dims)
    both = [region, Knockout(tokens="chosen", positions=(8, 9), sink_dims=dims)]
    fewer = [HeadAblation(heads="random"), Contrast()]
    one = make_run(folder / "1", seed=1, **SMALL)
    two = make_run(folder / "2", seed=2, name="VAR", intervention=both, **SMALL)
    regions = {picture_key(one): [Region("cup", (1, 2, 6)), Region("rest", (9,))]}
    long = make_run(
        folder / "3", layers=1, heads=2, rows=45, cols=47, queries=4, precision="float32"
    )
    cut_off = make_run(folder / "4", seed=3, finish=False, intervention=fewer, **SMALL)
    sessions = [
        Session([one, two], notes="as it was", view=view_of(one), regions=regions),
        Session([long]),
        Session([cut_off, one]),
    ]
    paths = [
        save_session(folder / f"{number}.vars", session) for number, session in enumerate(sessions)
    ]
    part = Content(maps=True, tokens=("answer",), images=False)
    paths.append(save_session(folder / "part.vars", [one, two], content=part))
    return [path.read_bytes() for path in [*paths, *sorted(OLD.glob("*.vars"))]]
