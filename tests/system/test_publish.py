"""``publish`` in the programs of users: gunicorn with forks, a background callback, a script in another folder."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import completed, free_port, python, running
from tests.ws_service.publisher.api_server import KEY, Api, running_api

ENVIRONMENT = ("DASH_WS_HUB_URL", "DASH_WS_HUB_KEY", "DASH_WS_PROXY_CONFIG")

SCRIPT = """
import sys
from ws_service import publish
print(publish("cron", {"n": 1}, raise_errors="raise" in sys.argv))
"""


@pytest.fixture
def api() -> Iterator[Api]:
    with running_api() as api:
        yield api


def environment(api: Api) -> dict[str, str]:
    return {"DASH_WS_HUB_URL": api.url, "DASH_WS_HUB_KEY": KEY}


def get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=20) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def wait_for(api: Api, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(api.requests) < count:
        assert api.arrived.wait(max(0.0, deadline - time.monotonic())), f"only {api.requests}"
        api.arrived.clear()


@pytest.mark.parametrize("kind", [["sync"], ["gthread", "--threads", "4"]], ids=lambda kind: kind[0])
def test_workers_that_gunicorn_forks_after_a_publish_have_connections_of_their_own(api: Api, kind: list[str]) -> None:
    port = free_port()
    argv = python("-m", "gunicorn", "--preload", "--workers", "2", "--bind", f"127.0.0.1:{port}")
    app = "tests.system.apps.publishing:server"
    with running(*argv, "-k", *kind, app, ready=r"(?s)Booting worker.*Booting worker", env=environment(api)):
        answers: list[dict[str, object]] = []
        threads = [
            threading.Thread(target=lambda: answers.append(get(f"http://127.0.0.1:{port}/publish/50")))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [answer["published"] for answer in answers] == [50] * 8
    by_pid: dict[int, list[int]] = {}
    for each in api.requests[1:]:
        by_pid.setdefault(each["data"]["pid"], []).append(each["data"]["n"])
    assert set(by_pid) == {answer["pid"] for answer in answers}
    assert sorted(n for ns in by_pid.values() for n in ns) == sorted(list(range(50)) * 8)
    assert api.requests[0]["channel"] == "started" and api.requests[0]["data"] not in by_pid


def test_a_background_callback_publishes_from_a_process_of_its_own(api: Api, tmp_path: Path) -> None:
    port = free_port()
    argv = python("-m", "tests.system.apps.publishing_job", tmp_path / "cache", port)
    with running(*argv, ready="ready", env=environment(api)):
        body = {
            "output": "out.children",
            "outputs": {"id": "out", "property": "children"},
            "inputs": [{"id": "go", "property": "n_clicks", "value": 1}],
            "changedPropIds": ["go.n_clicks"],
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/_dash-update-component",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(request, timeout=20).close()
                break
            except OSError:
                assert time.monotonic() < deadline
        wait_for(api, 4)
    started, *published = api.requests
    assert [each["data"]["pct"] for each in published] == [0, 50, 100]
    [pid] = {each["data"]["pid"] for each in published}
    assert pid != started["data"]


def run_script(folder: Path, *words: str, **env: str) -> tuple[str, str]:
    (folder / "feed.py").write_text(SCRIPT)
    done = completed("feed.py", *words, cwd=folder, **{name: "" for name in ENVIRONMENT}, **env)
    assert "raise" in words or done.returncode == 0
    return done.stdout, done.stderr


def test_a_script_in_another_folder_is_told_what_to_set_and_then_publishes(api: Api, tmp_path: Path) -> None:
    app, elsewhere = tmp_path / "app", tmp_path / "elsewhere"
    app.mkdir()
    elsewhere.mkdir()
    config = app / "config.yaml"
    config.write_text(f"ws_service: {{listen: '{api.url[7:]}'}}\n")
    stdout, stderr = run_script(elsewhere)
    assert stdout == "None\n"
    assert f"There is no config.yaml in {elsewhere}: set DASH_WS_PROXY_CONFIG" in stderr
    _, stderr = run_script(elsewhere, "raise")
    assert "PublishError" in stderr
    assert sorted(os.listdir(elsewhere)) == ["feed.py"]
    done = completed("feed.py", cwd=elsewhere, DASH_WS_PROXY_CONFIG=str(config))
    assert (done.stdout, done.stderr) == ("Position(epoch='e', offset=1)\n", "")
    assert (app / "run" / "hub.key").stat().st_mode & 0o777 == 0o600


def test_a_publish_of_a_process_that_ends_leaves_no_warning(api: Api, tmp_path: Path) -> None:
    (tmp_path / "feed.py").write_text(SCRIPT)
    done = completed("-X", "dev", "-W", "error", "feed.py", cwd=tmp_path, **environment(api))
    assert (done.stdout, done.stderr) == ("Position(epoch='e', offset=1)\n", "")
