"""Everything that is looked at, as a list, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import var_studio
from var_studio.doctor import places, probes, versions
from var_studio.doctor.check import Check
from var_studio.doctor.devices import check_torch
from var_studio.doctor.imports import check_imports

SCHEMA: Final = 1
"""Of `to_json`; a key keeps its meaning within one number."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing that is needed is bad."""
        return all(check.state != "bad" for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON: schema, version, ok, and the checks with id, state, says, fix, facts."""
        return {
            "schema": SCHEMA,
            "var_studio": var_studio.__version__,
            "ok": self.ok,
            "checks": [check.to_json() for check in self.checks],
        }

    def to_text(self) -> str:
        """For a reader: a line for each check, what to change first, and under it how."""
        bad = sum(check.state == "bad" for check in self.checks)
        warned = sum(check.state == "warn" for check in self.checks)
        lines = [f"VAR Studio {var_studio.__version__}. {_summary(bad, warned)}", ""]
        for check in sorted(
            self.checks, key=lambda check: ("bad", "warn", "ok").index(check.state)
        ):
            lines.append(f"{check.state:4}  {check.says}")
            if check.fix and check.state != "ok":
                lines.append(f"      -> {check.fix}")
        return "\n".join(lines)


def examine(*, online: bool = False, seconds: float = probes.SECONDS) -> Report:
    """Look at everything; `online`: at the hub too. Takes some seconds, at most `seconds` and a
    little; raises nothing for what is broken."""
    found = probes.run_all(seconds)
    checks: list[Check] = []
    looks: tuple[tuple[str, Callable[[], Check | Sequence[Check]]], ...] = (
        ("python", versions.check_python),
        ("imports", lambda: check_imports(found["packages"])),
        ("torch", lambda: check_torch(found["torch"])),
        ("window", lambda: places.check_window(found["qt"])),
        ("fonts", lambda: places.check_fonts(found["fonts"])),
        ("folders", places.check_folders),
        ("resources", places.check_resources),
        *((("hub", places.check_hub),) if online else ()),
        ("packages", versions.check_packages),
    )
    for name, look in looks:
        try:
            told = look()
        except Exception as error:
            # One thing that is broken in a way nobody thought of must not hide the others.
            said = f"This could not be looked at: {probes.one_line(error)}."
            told = Check(name, "bad", said, "Reinstall VAR Studio in a new environment.")
        checks += [told] if isinstance(told, Check) else list(told)
    return Report(tuple(checks))


def as_json(report: Report) -> str:
    """The report as a JSON text."""
    return json.dumps(report.to_json(), indent=2)


def _summary(bad: int, warned: int) -> str:
    if bad:
        return f"{bad} of what VAR Studio needs does not work; do what the arrows say."
    if warned:
        return f"All that is needed works; {warned} more could."
    return "All works."
