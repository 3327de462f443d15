"""Which runs answer the question on screen, and where the selected word stands in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from var_studio.gui.models.workspace import Workspace
    from var_studio.recording.recording import Recording
    from var_studio.recording.tokens import Token

Way = Literal["free", "forced"]


def scored(workspace: Workspace) -> Recording | None:
    """The run that was forced to the baseline's answer (teacher forcing) under the interventions
    of the second answer, or under the latest ones where there is no second answer."""
    baseline, other = workspace.baseline, workspace.paired
    if baseline is None:
        return None
    if other is not None and other.teacher == baseline.id:
        return other
    for run in reversed(workspace.runs):
        if run.teacher == baseline.id and (
            other is None or run.interventions == other.interventions
        ):
            return run
    return None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the answer, before and after. `after` None: `why` says what is missing.

    `number` counts the answer's tokens from 1. `way`: how `after` came about.
    """

    before: Token
    after: Token | None
    number: int
    way: Way
    why: str = ""


def step_at(workspace: Workspace, way: Way) -> Step | str:
    """The step that chose the selected word, in the baseline and in the other run of that way.

    A sentence where there is no such step.
    """
    from var_studio.analysis.compare import generated, same_until

    run, position = workspace.run, workspace.selection.position
    if run is None or position is None:
        return "Click a word of the answer."
    if position >= run.length or run.tokens[position].role != "generated":
        return (
            "This word was given to the model, which chose nothing there. Click a word of the "
            "answer for the candidates it beat."
        )
    index = position - run.prompt_length
    baseline, other = workspace.baseline, workspace.paired
    if baseline is None:
        return Step(
            run.tokens[position], None, index + 1, way,
            "There is no baseline to compare with. Press Run, or Run pair, in Setup.",
        )  # fmt: skip
    before = generated(baseline.tokens)
    forced = scored(workspace)
    free = other if other is not None and other.teacher is None else None
    apart = (
        None
        if run is baseline or run is forced or free is None
        else same_until(baseline.tokens, free.tokens)
    )
    if (apart is not None and index > apart) or index >= len(before):
        return Step(
            run.tokens[position], None, index + 1, way,
            "Here the two answers have different texts before this word, so their candidates "
            "cannot be compared. Click a word up to where they part.",
        )  # fmt: skip
    token = before[index]
    if way == "forced":
        if forced is None:
            why = (
                "The baseline's answer has not been scored under the interventions yet: press Run "
                "pair (Ctrl+R)."
            )
            return Step(token, None, index + 1, way, why)
        after = generated(forced.tokens)
        if index >= len(after):
            return Step(token, None, index + 1, way, "The scored run ends before this word.")
        return Step(token, after[index], index + 1, way)
    if free is None:
        why = "There is no second answer yet: press Run with interventions, or Run pair (Ctrl+R)."
        return Step(token, None, index + 1, way, why)
    after = generated(free.tokens)
    same = same_until(baseline.tokens, free.tokens)
    if index > same:
        why = (
            f"The answers part at word {same + 1}: from there on the second one follows another "
            "text. Teacher-forced compares this word too."
        )
        return Step(token, None, index + 1, way, why)
    if index >= len(after):
        return Step(token, None, index + 1, way, "The second answer ends before this word.")
    return Step(token, after[index], index + 1, way)
