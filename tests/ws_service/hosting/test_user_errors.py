"""An exception of the user's code is told as a sentence, and with the frames of that code alone."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from ws_service.hosting.user_errors import described, user_traceback


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError(" too much\n"), "ValueError: too much"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "it ended in sys.exit(3)"),
    ],
)
def test_an_exception_is_its_type_and_its_text(error: BaseException, sentence: str) -> None:
    assert described(error) == sentence


def test_a_traceback_begins_in_the_users_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user_module.py").write_text("def fails():\n    1 / 0\n\n\nfails()\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError) as caught:
        importlib.import_module("user_module")
    caught.value.__traceback__ = caught.tb.tb_next  # without the frame of this test
    lines = user_traceback(caught.value).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "user_module.py" in lines[1]
    assert "importlib" not in "".join(lines)


def test_there_is_no_traceback_without_an_exception() -> None:
    assert user_traceback(None) == ""
