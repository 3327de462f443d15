"""The short program beside a figure that draws it again from its session."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from var_studio.analysis.scale import Limits
from var_studio.figures.drawing import Drawing, changed_options
from var_studio.figures.page import FigureError
from var_studio.figures.words import visible
from var_studio.recording.recording import Recording
from var_studio.recording.session import open_session
from var_studio.recording.settings import Redistribution

_WIDEST = 88


def script_text(
    drawing: Drawing, runs: Mapping[str, Recording], path: str | os.PathLike[str], dpi: int = 300
) -> str:
    """Python that draws the figure at `path` anew, beside it, under the name FIGURE-redrawn.

    `runs` by id: those that the drawing names. A run in a session file is opened there, by a path
    relative to the script; one that is in no session file yet in the folder where it lies. The
    script stops where it finds another run of that name, as in a session that was recorded anew.
    Raises FigureError for a script that would be found in place of a module it needs.
    """
    figure = Path(path)
    _check_name(figure)
    redrawn = f"{figure.stem}-redrawn{figure.suffix}"
    opened, names = _opened(drawing, runs, figure.parent)
    lines = [
        f'"""Draws {_plain(figure.name)} again, as {_plain(redrawn)}. '
        'Needs VAR Studio; no model, no GPU."""',
        "",
        "from pathlib import Path",
        "",
        "import var_studio as vs",
        "",
        "here = Path(__file__).resolve().parent  # in a notebook: the folder of this file",
        *opened,
        *_checked(names),
        "",
        "vs.export_figure(",
        f"    {names[drawing.run]},",
        f"    {drawing.figure!r},",
        f"    here / {redrawn!r},",
        *(f"    {line}" for line in _arguments(drawing, runs, names, dpi)),
        ")",
    ]
    return "\n".join(lines) + "\n"


def _check_name(figure: Path) -> None:
    """Refuse random.py: each program in that folder, itself too, would import it as `random`."""
    name = figure.stem
    if name in sys.stdlib_module_names or name in sys.modules:
        raise FigureError(
            f"its script {name}.py would hide the Python module {name} from programs in that "
            "folder.",
            f"Choose another name, such as {name}-figure{figure.suffix}.",
        )


def _opened(
    drawing: Drawing, runs: Mapping[str, Recording], folder: Path
) -> tuple[list[str], dict[str, str]]:
    """Lines that open what is drawn, and the variable that each run is in."""
    wanted = [(drawing.run, "run"), (drawing.compare_with, "second"), (drawing.forced, "forced")]
    wanted += [(key, f"other_{n}") for n, key in enumerate(drawing.others, start=1)]
    lines: list[str] = []
    names: dict[str, str] = {}
    files: dict[Path, str] = {}
    for key, name in wanted:
        if key is None or key in names:
            continue
        run = runs[key]
        names[key] = name
        if run.in_directory:
            lines.append("# Not in a session file yet: save the session, and export again.")
            lines.append(f"{name} = vs.Recording.open({str(run.path.resolve())!r})")
            continue
        place = run.path.resolve()
        if place not in files:
            files[place] = "session" if not files else f"session_{len(files) + 1}"
            lines.append(f"{files[place]} = vs.open_session({_from(place, folder)})")
        lines.append(f"{name} = {files[place]}.runs[{_name_in_file(run)!r}]")
    return lines, names


def _checked(names: Mapping[str, str]) -> list[str]:
    """Lines that stop the script where a run is not the one that was drawn."""
    pairs = [f"({name}, {key!r})" for key, name in names.items()]
    listed = f"[{', '.join(pairs)}]"
    if len(listed) > _WIDEST:
        listed = "\n".join(["[", *(f"    {pair}," for pair in pairs), "]"])
    return [
        *f"for found, drawn in {listed}:".split("\n"),
        "    if found.id != drawn:",
        "        raise SystemExit(",
        '            f"{found.path.name} holds another run {found.name} than the one drawn, "',
        '            "perhaps recorded anew under the same names: draw the figure anew too."',
        "        )",
    ]


def _from(place: Path, folder: Path) -> str:
    """The session file as seen from the script."""
    try:
        relative = os.path.relpath(place, folder.resolve())
    except ValueError:  # another drive
        return repr(str(place))
    return f"here / {Path(relative).as_posix()!r}"


def _name_in_file(run: Recording) -> str:
    """What the run goes by in its file: where two have one name, the second has a number."""
    with open_session(run.path) as session:
        for name, kept in zip(session.runs.names, session.runs, strict=True):
            if kept.id == run.id:
                return name
    return run.name


def _arguments(
    drawing: Drawing, runs: Mapping[str, Recording], names: Mapping[str, str], dpi: int
) -> list[str]:
    run = runs[drawing.run]
    lines: list[str] = []
    if drawing.token is not None:
        text = visible(run.tokens[drawing.token].text)
        lines.append(
            f"token={drawing.token},  # {text}" if text.isprintable() else f"token={drawing.token},"
        )
        if drawing.row_of != "query":
            lines.append(f"row_of={drawing.row_of!r},")
        lines += _of_heads(drawing, run)
    if drawing.settings is not None:
        lines += _call("settings", "vs.Redistribution", _changed(drawing.settings))
    if drawing.options is not None and changed_options(drawing.options):
        lines += _call("options", "vs.MapOptions", changed_options(drawing.options))
    for argument, key in (("compare_with", drawing.compare_with), ("forced", drawing.forced)):
        if key is not None:
            lines.append(f"{argument}={names[key]},")
    if drawing.tokens is not None:
        lines.append(f"tokens={drawing.tokens!r},")
    if drawing.others:
        lines.append(f"others=[{', '.join(names[key] for key in drawing.others)}],")
    if drawing.style is not None:
        lines.append(f"style={drawing.style!r},")
    lines += [f"{name}={value!r}," for name, value in (drawing.more or {}).items()]
    lines.append(f"width={drawing.width!r},")
    if dpi != 300:
        lines.append(f"dpi={dpi},")
    return lines


def _of_heads(drawing: Drawing, run: Recording) -> list[str]:
    """As short as it can be said: a layer and a head, a layer, a head of each layer, or pairs."""
    pairs, layer = drawing.heads, drawing.layer
    whole = tuple((layer, head) for head in range(run.n_heads))
    column = {head for _, head in pairs}
    if len(pairs) == 1 and pairs[0][0] == layer:
        lines = [f"layer={layer},", f"head={pairs[0][1]},"]
    elif pairs == whole:
        lines = [f"layer={layer},"]
    elif (
        len(column) == 1
        and layer == run.n_layers // 2
        and pairs == tuple((i, *column) for i in range(run.n_layers))
    ):
        lines = [f"head={column.pop()},"]
    elif not pairs:
        lines = [] if layer == run.n_layers // 2 else [f"layer={layer},", 'heads="all",']
    else:
        lines = [f"layer={layer},", f"heads={list(pairs)!r},"]
    return lines + ([f"aggregate={drawing.aggregate!r},"] if drawing.aggregate != "mean" else [])


def _changed(settings: Redistribution) -> dict[str, Any]:
    """The fields that are not as by default, and always tau, rho and p."""
    plain = Redistribution()
    return {
        name: value
        for name, value in dict(settings).items()
        if name in ("tau", "rho", "p") or value != getattr(plain, name)
    }


def _call(argument: str, what: str, fields: Mapping[str, Any]) -> list[str]:
    written = [f"{name}={_value(value)}" for name, value in fields.items()]
    line = f"{argument}={what}({', '.join(written)}),"
    if len(line) <= _WIDEST:
        return [line]
    return [f"{argument}={what}(", *(f"    {each}," for each in written), "),"]


def _value(value: Any) -> str:
    if isinstance(value, Limits):
        clipped = ", clipped=True" if value.clipped else ""
        return f"vs.Limits({float(value.low)!r}, {float(value.high)!r}{clipped})"
    return repr(value)


def _plain(text: str) -> str:
    """Text that ends no docstring and starts no escape."""
    return text.encode("unicode_escape").decode("ascii").replace('"', "'").replace("\\", "/")
