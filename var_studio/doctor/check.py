"""One thing that was looked at, and what was found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["ok", "warn", "bad"]
"""`warn`: something might be better, or does not work and the rest does without it. `bad`: what is
needed does not work."""


@dataclass(frozen=True, slots=True)
class Check:
    """`id` and `facts` are for scripts, `says` a sentence, `fix` the command or step that helps."""

    id: str
    state: State
    says: str
    fix: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "id": self.id,
            "state": self.state,
            "says": self.says,
            "fix": self.fix or None,
            "facts": self.facts,
        }
