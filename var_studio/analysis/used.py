"""A row as the model went on with it in a run that was made with interventions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from var_studio.analysis.focus import Focus
from var_studio.analysis.reading import Reading
from var_studio.recording.interventions import method_settings, on_attention

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording


def as_used(run: Recording, focus: Focus, previous: Reading | None = None) -> Reading:
    """The reading whose `after` is what the run did to the row; of a baseline, nothing."""
    acts = on_attention(run.interventions)
    settings = method_settings(acts)
    if acts == (settings,):
        return Reading(run, focus, settings, previous)
    return Reading(run, focus, settings, previous, acts)
