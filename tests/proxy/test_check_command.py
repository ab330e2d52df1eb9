"""``check`` and ``check --live``: what is printed, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.check_command import run_check
from tests.processes import free_ports
from ws_service.command_line import CheckOptions


@pytest.fixture
def config(tmp_path: Path) -> Path:
    gateway, dash, ws = free_ports(3)
    path = tmp_path / "config.yaml"
    path.write_text(
        f"gateway:\n  listen: 127.0.0.1:{gateway}\n  admin: unix:admin.sock\n  handoff: off\n"
        f"  upstreams: {{dash: 'http://127.0.0.1:{dash}', ws: 'http://127.0.0.1:{ws}'}}\n"
    )
    return path


def test_a_good_file_is_one_line_and_a_mistake_has_its_id(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(config, CheckOptions()) == 0
    assert capsys.readouterr() == (f"{config}: no mistakes (gateway)\n", "")
    assert run_check(config, CheckOptions(is_quiet=True)) == 0
    assert capsys.readouterr() == ("", "")
    config.write_text("gateway: {lisen: x}\n")
    assert run_check(config, CheckOptions()) == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert said == f"{config}:1:11: gateway.lisen: is not a setting; did you mean listen? [DW003]\n"


def test_a_file_that_is_not_there_has_an_id_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(tmp_path / "none.yaml", CheckOptions(is_json=True)) == 2
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["id"], finding["place"]["line"]) == ("DW001", None)


def test_a_report_is_written_for_the_file_alone_and_a_folder_that_is_not_there_is_said(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    assert run_check(config, CheckOptions(report=path)) == 0
    assert json.loads(path.read_text("utf-8"))["settings"]["gateway"]["handoff"] == "off"
    assert capsys.readouterr().err == f"wrote {path}; read it before you give it to others\n"
    assert run_check(config, CheckOptions(report=tmp_path / "none" / "report.json")) == 2
    assert capsys.readouterr().err.endswith("none/report.json cannot be written: no such file or directory\n")


def test_json_of_the_file_alone(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(config, CheckOptions(is_json=True)) == 0
    assert json.loads(capsys.readouterr().out)["areas"][0]["result"] == "ok"
    config.write_text("gateway: {lisen: x}\n")
    assert run_check(config, CheckOptions(is_json=True)) == 2
    values = json.loads(capsys.readouterr().out)
    assert values["exit_code"] == 2
    assert [finding["id"] for finding in values["findings"]] == ["DW003"]
    assert values["findings"][0]["place"] == {"file": str(config), "line": 1, "column": 11, "key": "gateway.lisen"}


def test_live_asks_no_program_while_the_file_has_mistakes(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("gateway: {lisen: x}\n")
    assert run_check(config, CheckOptions(is_live=True)) == 2
    assert capsys.readouterr().err.endswith("No program was asked: repair these first.\n")


def test_live_says_which_programs_do_not_run(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(config, CheckOptions(is_live=True)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"✓ config     {config}: no mistakes (gateway)"
    assert lines[1] == "✗ programs"
    assert [line.split()[1] for line in lines if line.startswith("  ✗")][:3] == ["DW020:", "DW021:", "DW022:"]
    assert lines[-1].startswith("3 errors")


def test_live_json_is_one_document_on_standard_output(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(config, CheckOptions(is_live=True, is_json=True)) == 1
    values = json.loads(capsys.readouterr().out)
    assert [area["name"] for area in values["areas"]][:2] == ["config", "programs"]
