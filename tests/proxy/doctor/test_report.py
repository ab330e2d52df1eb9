"""What is printed of findings, and the exit codes."""

from __future__ import annotations

from proxy.doctor.catalogue import CATALOGUE
from proxy.doctor.finding import Finding, Kind, Place, Severity
from proxy.doctor.probe import Area, Outcome
from proxy.doctor.report import Examination, Examined, as_json, begun, encodable, lines_of, summary

ERROR = Finding(
    "DW021", CATALOGUE["DW021"], "Dash is \x1b[31maway", "start it", Place("c.yaml", 2, 3, "gateway.upstreams.dash")
)
WARNING = Finding("DW013", CATALOGUE["DW013"], "a name\nof two lines")
NOTE = Finding("DW999", Kind("dash", Severity.NOTE, "A note", "It is good to know."), "noted")


async def _probe(_: object) -> Outcome:
    return Outcome()


def test_an_area_is_a_line_and_its_findings_are_below_it() -> None:
    assert list(lines_of("dash", Outcome("Dash 4.4.1"))) == ["✓ dash       Dash 4.4.1"]
    assert list(lines_of("dash", Outcome("no page", is_skipped=True))) == ["- dash       no page"]
    assert list(lines_of("dash", Outcome("seen", [ERROR, WARNING]))) == [
        "✗ dash       seen",
        "  ✗ DW021: Dash is \\x1b[31maway",
        "      why:  Pages wait, and then show that Dash is starting.",
        "      fix:  start it",
        "      in:   c.yaml:2:3: gateway.upstreams.dash",
        "      more: docs/checks.md#dw021",
        "  ! DW013: a name",
        "      of two lines",
        "      why:  Until it can, requests for it wait, and then fail.",
        "      more: docs/checks.md#dw013",
    ]
    assert begun(Area("dash", "which version", _probe)) == "… dash       which version"


def test_quiet_prints_findings_alone_and_no_notes() -> None:
    assert list(lines_of("dash", Outcome("Dash 4.4.1", [NOTE]), is_quiet=True)) == []
    quiet = list(lines_of("dash", Outcome("", [NOTE, ERROR]), is_quiet=True))
    assert quiet[0] == "✗ dash"
    assert not [line for line in quiet if "noted" in line]


def test_notes_are_shown_and_change_neither_the_mark_nor_the_exit_code() -> None:
    lines = list(lines_of("dash", Outcome("Dash 4.4.1", [NOTE])))
    assert lines[:2] == ["✓ dash       Dash 4.4.1", "  · DW999: noted"]
    examination = Examination("c.yaml", areas=[Examined("dash", Outcome("", [NOTE]))])
    assert examination.exit_code == 0
    examination.areas.append(Examined("more", Outcome("", [WARNING])))
    assert examination.exit_code == 1


def test_the_last_line_counts() -> None:
    assert summary([]) == "nothing to repair"
    assert summary([NOTE]) == "nothing to repair (1 note)"
    assert summary([ERROR, ERROR, WARNING, NOTE]) == "2 errors, 1 warning, 1 note"


def test_a_terminal_without_our_marks_gets_ascii() -> None:
    lines = ["✓ a", "✗ b · c", "ü"]
    assert list(encodable(lines, "utf-8")) == lines
    assert list(encodable(lines, "ascii")) == ["+ a", "x b - c", "?"]
    assert list(encodable(lines, None)) == ["+ a", "x b - c", "?"]


def test_json_has_every_part_of_a_finding() -> None:
    values = as_json(Examination("c.yaml", "https://a.test", [Examined("programs", Outcome("s", [ERROR, NOTE]))]), 1)
    assert (values["format"], values["config"], values["url"], values["exit_code"]) == (
        1,
        "c.yaml",
        "https://a.test",
        1,
    )
    assert values["areas"] == [{"name": "programs", "result": "error", "seen": "s"}]
    assert values["findings"][0] == {
        "id": "DW021",
        "area": "programs",
        "severity": "error",
        "title": "Dash takes no connection",
        "seen": "Dash is \x1b[31maway",
        "why": "Pages wait, and then show that Dash is starting.",
        "fix": "start it",
        "place": {"file": "c.yaml", "line": 2, "column": 3, "key": "gateway.upstreams.dash"},
        "docs": "docs/checks.md#dw021",
    }
    assert values["findings"][1]["fix"] is None
    assert values["findings"][1]["place"] is None
