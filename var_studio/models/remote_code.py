"""Code that a checkpoint brings along: named before it runs, and run only after a yes."""

from __future__ import annotations

from var_studio.models.checkpoints import Checkpoint
from var_studio.models.errors import RemoteCodeError, UnsupportedModelError
from var_studio.models.vila_assembly import is_vila

MODEL_CLASS = "AutoModelForImageTextToText"


def needs_remote_code(checkpoint: Checkpoint) -> bool:
    """Whether the model can be built only by code that comes with the checkpoint."""
    from transformers import CONFIG_MAPPING

    named = checkpoint.config.get("auto_map")
    known = is_vila(checkpoint.config)
    return bool(named) and not known and checkpoint.config["model_type"] not in CONFIG_MAPPING


def check_remote_code(checkpoint: Checkpoint, trusted: bool) -> bool:
    """Return whether the checkpoint's own code is to be run: it is needed, and `trusted`.

    Raises RemoteCodeError where it is needed and not trusted, UnsupportedModelError where its code
    has no class that takes images and text.
    """
    if not needs_remote_code(checkpoint):
        return False
    named = checkpoint.config["auto_map"]
    if not trusted:
        files = ", ".join(sorted({_file(name) for name in named.values()}))
        raise RemoteCodeError(
            f"{checkpoint.name} is no model that transformers knows. It comes with Python code of "
            f"its own ({files}), which would run on this machine with all your rights.",
            "Read that code; if you trust it, load the model with trust_remote_code "
            "(--trust-remote-code).",
        )
    if MODEL_CLASS not in named:
        raise UnsupportedModelError(
            f"The code of {checkpoint.name} has no {MODEL_CLASS} class.",
            "Choose a checkpoint that was converted for transformers.",
        )
    return True


def _file(name: object) -> str:
    """File of a class in an auto_map: "modeling.Model", "org/repo--modeling.Model", or a pair."""
    text = str(name[0] if isinstance(name, list | tuple) and name else name)
    repository, _, rest = text.rpartition("--")
    file = f"{rest.rsplit('.', 1)[0]}.py"
    return f"{file} of {repository}" if repository else file
