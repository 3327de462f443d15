"""What a caller of the engine may pass, checked before a run costs anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from var_studio.models.errors import NotLoadedError
from var_studio.models.loaded import LoadedModel
from var_studio.recording.apply import check_layers, check_tokens
from var_studio.recording.failures import SettingsError, StorageError
from var_studio.recording.interventions import FORCED, on_attention, run_name_for
from var_studio.recording.settings import Knockout, Redistribution
from var_studio.recording.store import GROUP

if TYPE_CHECKING:
    from var_studio.models.loaded import Encoded
    from var_studio.recording.settings import AttentionIntervention, Interventions

_LONGEST_NAME: Final = 200


def check_model(lmm: Any) -> None:
    """Raise NotLoadedError for anything but a loaded model, e.g. the name of one."""
    if isinstance(lmm, LoadedModel):
        return
    if isinstance(lmm, str | Path):
        raise NotLoadedError(
            f"{str(lmm)[:100]!r} is the name of a model, not a loaded one.",
            f"Load it first: lmm = vs.load_model({str(lmm)[:100]!r}).",
        )
    raise NotLoadedError(
        f"A loaded model is needed, not {type(lmm).__name__}.",
        'Load one first: lmm = vs.load_model("demo").',
    )


def run_name(name: Any, interventions: Interventions, *, forced: bool = False) -> str:
    """The name of a run, by default after what is done to the model. Raises SettingsError."""
    if name is None:
        return run_name_for(interventions) + (FORCED if forced else "")
    if not isinstance(name, str):
        raise SettingsError(
            f"The name of a run is a text, not {type(name).__name__}.", "Pass a string, or None."
        )
    shown = "".join(name.split(" ")).replace("\u00a0", "").replace("\u202f", "")
    if not shown or len(name) > _LONGEST_NAME or not shown.isprintable():
        raise SettingsError(
            "The name of a run is empty, too long, or holds signs that cannot be shown.",
            f"Choose a line of at most {_LONGEST_NAME} characters, or None.",
        )
    return name


def check_interventions(interventions: Interventions, lmm: LoadedModel) -> None:
    """Raise SettingsError for an intervention that does not fit the model, or changes nothing."""
    undefined = lmm.family.phi_undefined
    if undefined and on_attention(interventions):
        raise SettingsError(
            f"Nothing can be done to the attention of {lmm.name}: {undefined}.",
            "Record the plain model; its maps can be read.",
        )
    for settings in on_attention(interventions):
        _check_on_attention(settings, lmm)
        if not isinstance(settings, Redistribution) and _attends_beside_keys(lmm):
            raise SettingsError(
                f"The heads of {lmm.name} give a part of their attention to no token (a learned "
                f"sink), which a {settings.kind} does not reckon with.",
                "Redistribution works: it leaves that part alone.",
            )


def check_named_tokens(
    interventions: Interventions, lmm: LoadedModel, encoded: Encoded, max_new_tokens: int
) -> None:
    """Raise SettingsError for an intervention that names a token which the question cannot have.

    The answer's tokens count up to the limit of new tokens, however short it turns out.
    """
    room = lmm.context_length - encoded.input_length
    longest = encoded.length + min(max_new_tokens, room)
    for settings in on_attention(interventions):
        check_tokens(settings, n_visual=encoded.layout.count, length=longest)


def _attends_beside_keys(lmm: LoadedModel) -> bool:
    """Whether rows sum to less than 1, as those of gpt-oss do (`s_aux` of transformers)."""
    modules = map(lmm.family.attention_module, lmm.decoder_layers)
    return any(getattr(module, "sinks", None) is not None for module in modules)


def _check_on_attention(settings: AttentionIntervention, lmm: LoadedModel) -> None:
    check_layers(settings, lmm.n_layers)
    if settings.sink_dims is None:
        return
    outside = [d for d in settings.sink_dims if not 0 <= d < lmm.hidden_size]
    if outside:
        raise SettingsError(
            f"The model has no hidden dimension {outside[0]}: they go from 0 to "
            f"{lmm.hidden_size - 1}.",
            "Correct the sink dimensions, or leave them to the model.",
        )
    chosen = isinstance(settings, Knockout) and settings.tokens == "chosen"
    if not settings.sink_dims and not chosen:
        raise SettingsError(
            "The intervention names no sink dimension (sink_dims is empty), so that no token "
            "would be a sink.",
            "Name at least one, or leave them to the model with None.",
        )


def run_directory(given: Any) -> Path | None:
    """The directory that a caller chose for a run. Raises StorageError where none can begin."""
    if given is None:
        return None
    if not isinstance(given, str | os.PathLike):
        raise StorageError(
            f"The directory of a run is a path, not {type(given).__name__}.",
            "Pass a path, or None.",
        )
    directory = Path(os.path.expanduser(given))
    if (directory / GROUP).exists():
        raise StorageError(
            f"{directory} already holds a run; nothing was recorded.",
            "Choose another directory, or none for a new one.",
        )
    if directory.exists() and not directory.is_dir():
        raise StorageError(
            f"{directory} is a file, not a directory; nothing was recorded.",
            "Choose another directory, or none for a new one.",
        )
    return directory
