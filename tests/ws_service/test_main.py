"""The command line: what is printed where, and the exit codes."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from ws_service.__main__ import main
from ws_service.config import Settings, load_settings


def run(*args: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(a) for a in args])
    return result.exit_code, result.stdout, result.stderr


def test_every_setting_is_printed_in_a_form_that_is_a_config_file(tmp_path: Path) -> None:
    code, out, _ = run("--print-config")
    assert code == 0
    path = tmp_path / "printed.yaml"
    path.write_text(out)
    assert load_settings(path) == Settings()
    assert all(f"  {name}:" in out for name in Settings.model_fields)


def test_mistakes_in_the_file_are_listed_on_standard_error_with_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("ws_service:\n  lisen: 127.0.0.1:1\n  app: app.py\n")
    assert run("--config", path) == (
        2,
        "",
        f"{path}:2:3: ws_service.lisen: is not a setting; did you mean listen?\n"
        f"{path}:3:3: ws_service.app: 'app.py' is a path; write the module's name: app:app\n",
    )


def test_a_file_that_is_not_there_is_one_sentence_with_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert run("--config", path) == (2, "", f"{path}: there is no such file (looked in {tmp_path})\n")
