"""A finding: what was seen, why it matters, what to do, and which line of the config to change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ws_service.errors import Mistake


class Severity(Enum):
    """How much a finding matters.

    ERROR: something does not work, or is open to others. WARNING: it works, and not as it is probably meant.
    NOTE: worth knowing; it changes no exit code.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Kind:
    """What all findings with one id have in common; ``catalogue`` has the table.

    area: the line of the terminal that it stands below. title: what is wrong, in general. why: why it matters.
    """

    area: str
    severity: Severity
    title: str
    why: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the config to look. line, column: from 1; None where the file, or the key in it, is not there.

    key: dotted; empty for the file as a whole.
    """

    file: str
    line: int | None = None
    column: int | None = None
    key: str = ""

    def __str__(self) -> str:
        at = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{at}: {self.key}" if self.key else at


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    id: ``DW`` and three digits; one that is given up is never used again. seen: what was seen, a sentence.
    fix: what to do, a sentence; empty where ``seen`` says it. place: None where no setting is concerned.
    """

    id: str
    kind: Kind
    seen: str
    fix: str = ""
    place: Place | None = None

    @property
    def docs(self) -> str:
        """Where more is said."""
        return f"docs/checks.md#{self.id.lower()}"


def of_mistake(identifier: str, kind: Kind, source: str, mistake: Mistake) -> Finding:
    """Return the finding that a mistake in a config file is. source: the file's name."""
    place = Place(source, mistake.line, mistake.column, mistake.key)
    return Finding(identifier, kind, mistake.message, place=place)
