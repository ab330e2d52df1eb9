"""The user's app is imported in a process of its own; whatever it does there becomes a sentence."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from ws_service.errors import AppError
from ws_service.hosting import loader as hosting
from ws_service.hosting.import_check import problem
from ws_service.hosting.user_errors import explain

pytestmark = pytest.mark.system

GOOD = """
from fastapi import FastAPI, WebSocket
print("a word")
app = FastAPI()

@app.websocket("/ws")
async def ws(websocket: WebSocket):
    pass
"""


def test_an_app_that_can_be_served_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "trial_good.py").write_text(GOOD)
    assert problem("trial_good:app", tmp_path) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("trial_nosuch:app", None),
        ("trial_attribute:ap", GOOD),
        ("trial_routes:app", "from fastapi import FastAPI\napp = FastAPI()\n"),
        ("trial_flask:app", "import flask\napp = flask.Flask('a')\n"),
        ("trial_broken:app", "1 / 0\n"),
        ("trial_exit:app", "raise SystemExit(3)\n"),
        ("trial_syntax:app", "def (\n"),
        ("trial_serves:app", "import uvicorn\nuvicorn.run('a')\n"),
    ],
)
def test_what_is_wrong_is_said_in_the_services_own_words(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / f"{name.partition(':')[0]}.py").write_text(text)
    with pytest.raises(AppError) as caught:
        hosting.load(name, tmp_path)
    assert f"ws_service.app {problem(name, tmp_path)}" == explain(caught.value)


def test_a_module_that_ends_the_process_is_told_with_what_it_printed_last(tmp_path: Path) -> None:
    (tmp_path / "trial_end.py").write_text("import os\nprint('no licence', flush=True)\nos._exit(7)\n")
    assert problem("trial_end:app", tmp_path) == (
        "is trial_end:app, but importing it ended the process with exit code 7; put what waits, serves or ends the "
        'program under if __name__ == "__main__":\nno licence'
    )


def test_a_module_that_never_ends_is_ended_with_what_it_has_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    (tmp_path / "trial_hangs.py").write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(99)\n"
    )
    found = problem("trial_hangs:app", tmp_path, deadline=1.5)
    assert found is not None
    assert found.startswith("is trial_hangs:app, but importing it has not ended within 1.5 s; put what waits,")
    try:
        child = os.pidfd_open(int(pid.read_text()))
    except ProcessLookupError:
        return
    assert select.select([child], [], [], 10)[0], "it lives on"
    os.close(child)
