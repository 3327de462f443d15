"""What the table of figures says of their choices, against what the choices change."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest

from tests import answers
from tests.answers import answered
from var_studio.errors import VarStudioError
from var_studio.figures.build import MapOptions
from var_studio.figures.export import draw_figure
from var_studio.figures.names import FIGURE_NAMES
from var_studio.recording.settings import Knockout, Redistribution

SHAPE = {"layers": 4, "heads": 4, "rows": 4, "cols": 5, "image_size": (100, 80), "queries": 20}
LOOK = {
    "scale": MapOptions(robust=False, hide_sinks=False),
    "gamma": MapOptions(gamma=0.5),
    "colours": MapOptions(colour_map="gray"),
    "opacity": MapOptions(opacity=0.3),
    "hide_sinks": MapOptions(bare_sinks=True),
    "smooth": MapOptions(smooth=True),
    "quantity": MapOptions(quantity="contribution"),
}
METHOD = {
    "tau": [2.0, 6.0],
    "rho": [0.2, 0.9],
    "p": [0.1, 1.0],
    "mass_min": [0.0, 0.9],
    "convention": ["released-code"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory):
    """A baseline, VAR free and forced, a knockout forced to the baseline's answer."""
    folder = tmp_path_factory.mktemp("names")
    with pytest.MonkeyPatch.context() as patch:
        found = list(answered(folder, patch, **SHAPE, varied=True))
        found.append(
            answers._run(
                folder / "k", patch, answers._SAID, 7, name="hidden",
                intervention=Knockout(tokens="visual-sinks"), teacher=found[0].id, **SHAPE,
            )
        )  # fmt: skip
    return found


def plain(value: Any) -> Any:
    """What a reader of the figure sees or gets, to be compared."""
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if isinstance(value, dict):
        return [(key, plain(each)) for key, each in value.items()]
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if is_dataclass(value):
        return [plain(getattr(value, f.name)) for f in fields(value) if f.name != "metadata"]
    return repr(value)


@pytest.mark.parametrize("name", FIGURE_NAMES, ids=lambda name: name.key)
def test_a_figure_uses_what_changes_it_and_nothing_else(runs, name) -> None:
    baseline, second = runs[:2]
    common: dict[str, Any] = {"compare_with": second} if name.key == "answers" else {}
    common["others"] = runs[1:] if name.runs else ()

    def drawn(**choice: Any) -> Any:
        try:
            return plain(draw_figure(baseline, name.key, **common | choice).figure)
        except VarStudioError as error:
            return str(error)

    as_it_is = drawn()
    # What decides which tokens are sinks is said on the figure, not in its file alone.
    assert ("τ = 4.5" in str(drawn(settings=Redistribution(tau=4.5)))) == ("tau" in name.method)
    for choice, options in LOOK.items():
        told = drawn(options=options)
        if not name.pictures and name.key != "answers":
            assert told.startswith(f"A {name.key} shows no map."), choice
            continue
        assert (told != as_it_is) == name.uses(choice), choice
    for choice, values in METHOD.items():
        changed = [drawn(settings=Redistribution(**{choice: v})) != as_it_is for v in values]
        assert name.uses(choice) or not any(changed), choice
    rows = [int(p) for p in baseline.generated_positions]
    changed = [drawn(token=rows[n]) != as_it_is for n in (1, 3, 6)]
    assert any(changed) == ("token" in name.of), "token"
    if "token" in name.of:
        steps = {n: drawn(token=rows[n], row_of="produced") for n in (1, 3, 6)}
        changed = [step != drawn(token=rows[n]) for n, step in steps.items()]
        assert any(changed) == name.uses("row"), "row"
    changed = [drawn(layer=layer) != as_it_is for layer in range(4)]
    changed.append(drawn(layer=1, head=2) != as_it_is)
    assert any(changed) == name.uses("layer"), "layer"
    changed = [drawn(head=head) != as_it_is for head in range(4)]
    assert name.uses("head") or not any(changed), "head"
    if name.many:
        assert drawn(tokens=rows[1:4:2]) != as_it_is, "tokens"
    if name.key not in ("map", "answers") and name.runs:
        # Control: the run named is one that the figure would not have chosen.
        other = drawn(compare_with=runs[3])
        assert (other != as_it_is) == name.uses("compare_with"), "compare_with"
