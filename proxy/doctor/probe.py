"""What a probe is: an async function from a ``Target`` to an ``Outcome``, one for each area."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from proxy.doctor.finding import Finding, Severity
from proxy.doctor.target import Skipped, Target

__all__ = ["Area", "Outcome", "Probe", "Skipped"]


@dataclass
class Outcome:
    """What a probe has seen of its area.

    seen: what there is, in a few words, for the line of the terminal. findings: what is wrong, or worth knowing.
    """

    seen: str = ""
    findings: list[Finding] = field(default_factory=list)
    is_skipped: bool = False

    def has(self, severity: Severity) -> bool:
        """Tell whether there is a finding that matters so much."""
        return any(finding.kind.severity is severity for finding in self.findings)


Probe = Callable[[Target], Awaitable[Outcome]]
"""It may raise Skipped; aiohttp.ClientError, OSError and TimeoutError become a finding of their own."""


@dataclass(frozen=True, slots=True)
class Area:
    """One line of the terminal.

    name: one word. question: what is tried, for the line while it is. deadline: seconds for the whole probe; None: it
    has one of its own. is_beside: it runs beside those that follow, and is shown last, because it takes long.
    """

    name: str
    question: str
    probe: Probe
    deadline: float | None = 30.0
    is_beside: bool = False
