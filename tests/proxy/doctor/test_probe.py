"""What a probe has seen."""

from __future__ import annotations

from proxy.doctor.catalogue import CATALOGUE
from proxy.doctor.finding import Finding, Severity
from proxy.doctor.probe import Outcome


def test_an_outcome_knows_how_much_its_findings_matter() -> None:
    outcome = Outcome(findings=[Finding("DW013", CATALOGUE["DW013"], "seen")])
    assert outcome.has(Severity.WARNING)
    assert not outcome.has(Severity.ERROR)
    assert not Outcome().has(Severity.WARNING)
