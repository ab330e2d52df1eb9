"""What a new user may well write, and what the programs say then: what is wrong, where, and what to do.

The rows are those of a newcomer's report (issue 10), by their numbers there. Rows 21 and 24 are faults of what runs,
and not of what is written: ``test_handoff_fallbacks`` and the tests of the gateway's log have them.
"""

from __future__ import annotations

import re
import signal
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main
from tests.processes import completed, free_ports, python, running

APP = """
from fastapi import FastAPI, WebSocket, APIRouter

app = FastAPI()
empty = APIRouter()


def create_app():
    return app


@app.websocket("/ws")
async def ws(websocket: WebSocket):
    pass
"""

PAGES = """
import flask, dash

server = flask.Flask("plain")
pages = dash.Dash("pages", server=server)
"""

FILES: Mapping[str, str] = {
    "mistakes_app.py": APP,
    "mistakes_pages.py": PAGES,
    "mistakes_import.py": "import no_such_package\n",
    "mistakes_zero.py": "x = 1 / 0\n",
    "mistakes_syntax.py": "def f(:\n    pass\n",
    "mistakes_run.py": PAGES + "\n\npages.run(debug=True)\n",
}


def run(folder: Path, *words: str, **env: str) -> tuple[int, list[str]]:
    """Run a program to its end; returns its exit code and its lines, standard output first."""
    done = completed("-m", *words, cwd=folder, **env)
    return done.returncode, lines_of(done.stdout + done.stderr, folder)


def lines_of(output: str, folder: Path) -> list[str]:
    """Return the lines without the ids of ``check``: a program that starts says the same, and has none."""
    text = re.sub(r" \[DW\d{3}\]$", "", output.replace(str(folder), "HERE"), flags=re.MULTILINE)
    assert "most recent call last" not in text or "HERE/mistakes_" in text
    return text.splitlines()


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


AT = "config.yaml"
NO_YAML = "is not valid YAML:"

CHECKED = {
    "1 wrong indentation": (
        "gateway:\n  listen: 127.0.0.1:8000\n    admin: 127.0.0.1:8001\n",
        [
            f"{AT}:3:5: {NO_YAML} is indented by 4 spaces; write it like line 2, by 2 spaces, because line 2 has a "
            "value already"
        ],
    ),
    "1b keys at the left margin": (
        "gateway:\nlisten: 127.0.0.1:8000\n",
        [f"{AT}:2:1: listen: is a setting; did you mean it below gateway:, indented?"],
    ),
    "1b no section at all": (
        "app: mistakes_app:app\n",
        [f"{AT}:1:1: app: is a setting; did you mean it below ws_service:, indented?"],
    ),
    "1c ws_service inside gateway": (
        "gateway:\n  listen: 127.0.0.1:8000\n  ws_service:\n    app: mistakes_app:app\n",
        [
            f"{AT}:3:3: gateway.ws_service: is a section of its own; begin ws_service at the left margin, and not "
            "below gateway"
        ],
    ),
    "1c a setting of the other section": (
        "gateway:\n  app: mistakes_app:app\n",
        [f"{AT}:2:3: gateway.app: is not a setting of gateway; it belongs below ws_service:"],
    ),
    "1d settings at another depth": (
        "gateway:\n  drain: 30s\n  dash: http://127.0.0.1:8050\n  body: 5MiB\n  upstreams:\n"
        "    trusted_proxies: [10.0.0.1]\n  limits: {hold: 5s, head: 5s}\nws_service:\n  app: mistakes_app:app\n"
        "  hold: 5s\n",
        [
            f"{AT}:2:3: gateway.drain: is not a setting of gateway; it belongs below gateway.timeouts:",
            f"{AT}:3:3: gateway.dash: is not a setting of gateway; it belongs below gateway.upstreams: or "
            "gateway.health:",
            f"{AT}:4:3: gateway.body: is not a setting of gateway; it belongs below gateway.limits: or "
            "gateway.timeouts:",
            f"{AT}:6:5: gateway.upstreams.trusted_proxies: is not a setting of gateway.upstreams; it belongs below "
            "gateway:",
            f"{AT}:7:12: gateway.limits.hold: is not a setting of gateway.limits; it belongs below gateway.timeouts:",
            f"{AT}:7:22: gateway.limits.head: is not a setting of gateway.limits; it belongs below gateway.timeouts:",
            f"{AT}:10:3: ws_service.hold: is not a setting of ws_service; it belongs below gateway.timeouts:",
        ],
    ),
    "1d settings of a group at the left margin": (
        "gateway:\nhold: 5s\n",
        [f"{AT}:2:1: hold: is a setting; did you mean it below gateway.timeouts:, indented?"],
    ),
    "2 a tab": (
        "gateway:\n\tlisten: 127.0.0.1:8000\n",
        [f"{AT}:2:1: {NO_YAML} there is a tab here; indent with spaces"],
    ),
    "4 a module that is not there": (
        "ws_service:\n  app: nosuch:app\n",
        [
            f"{AT}:2:3: ws_service.app: is nosuch:app, but there is no module nosuch in HERE or among the installed "
            "packages; write the name of your script without .py, and keep the config file beside it"
        ],
    ),
    "4 an attribute that is not there": (
        "ws_service:\n  app: mistakes_app:ap\n",
        [
            f"{AT}:2:3: ws_service.app: is mistakes_app:ap, but mistakes_app (HERE/mistakes_app.py) has no ap; did "
            "you mean app?"
        ],
    ),
    "4 a file": (
        "ws_service:\n  app: app.py:app\n",
        [f"{AT}:2:3: ws_service.app: 'app.py:app' is a path; write the module's name: app:app"],
    ),
    "4 no attribute": (
        "ws_service:\n  app: app\n",
        [f"{AT}:2:3: ws_service.app: 'app' names no attribute; write module:attr, for example app:app"],
    ),
    "4 a dot for the colon": (
        "ws_service:\n  app: mistakes_app.app\n",
        [
            f"{AT}:2:3: ws_service.app: 'mistakes_app.app' names no attribute; write module:attr, for example "
            "mistakes_app:app"
        ],
    ),
    "4 a function": (
        "ws_service:\n  app: mistakes_app:create_app\n",
        [
            f"{AT}:2:3: ws_service.app: is mistakes_app:create_app, but create_app in mistakes_app "
            "(HERE/mistakes_app.py) is a function; name the variable that holds the app it makes"
        ],
    ),
    "4 a router without routes": (
        "ws_service:\n  app: mistakes_app:empty\n",
        [
            f"{AT}:2:3: ws_service.app: is mistakes_app:empty, but empty in mistakes_app (HERE/mistakes_app.py) has no "
            'WebSocket route; add one with @empty.websocket("/ws"), or leave ws_service.app out'
        ],
    ),
    "5 a Dash app on Flask": (
        "ws_service:\n  app: mistakes_pages:pages\n",
        [
            f"{AT}:2:3: ws_service.app: is mistakes_pages:pages, but pages in mistakes_pages (HERE/mistakes_pages.py) "
            "is a Dash app on Flask, which has no WebSocket routes that this service can host; write your endpoints "
            "on a FastAPI app in a module of its own, and name that one"
        ],
    ),
    "5 a Flask server": (
        "ws_service:\n  app: mistakes_pages:server\n",
        [
            f"{AT}:2:3: ws_service.app: is mistakes_pages:server, but server in mistakes_pages "
            "(HERE/mistakes_pages.py) is a Flask app, which has no WebSocket routes that this service can host; write "
            "your endpoints on a FastAPI app in a module of its own, and name that one"
        ],
    ),
    "6 a package that is not installed": (
        "ws_service:\n  app: mistakes_import:app\n",
        [
            f"{AT}:2:3: ws_service.app: is mistakes_import:app, but importing mistakes_import "
            "(HERE/mistakes_import.py) failed: ModuleNotFoundError: No module named 'no_such_package'",
            "Traceback (most recent call last):",
            '  File "HERE/mistakes_import.py", line 1, in <module>',
            "    import no_such_package",
            "ModuleNotFoundError: No module named 'no_such_package'",
        ],
    ),
    "6 an exception": (
        "ws_service:\n  app: mistakes_zero:app\n",
        [
            f"{AT}:2:3: ws_service.app: is mistakes_zero:app, but importing mistakes_zero (HERE/mistakes_zero.py) "
            "failed: ZeroDivisionError: division by zero",
            "Traceback (most recent call last):",
            '  File "HERE/mistakes_zero.py", line 1, in <module>',
            "    x = 1 / 0",
            "        ~~^~~",
            "ZeroDivisionError: division by zero",
        ],
    ),
    "6 no Python": (
        "ws_service:\n  app: mistakes_syntax:app\n",
        [
            f"{AT}:2:3: ws_service.app: is mistakes_syntax:app, but importing mistakes_syntax "
            "(HERE/mistakes_syntax.py) failed: SyntaxError: invalid syntax (mistakes_syntax.py, line 1)",
            '  File "HERE/mistakes_syntax.py", line 1',
            "    def f(:",
            "          ^",
            "SyntaxError: invalid syntax",
        ],
    ),
    "6d app.run() when it is imported": (
        "ws_service:\n  app: mistakes_run:app\n",
        [
            f"{AT}:2:3: ws_service.app: is mistakes_run:app, but mistakes_run (HERE/mistakes_run.py) starts a server "
            'when it is imported, Dash.run at HERE/mistakes_run.py:8; put that under if __name__ == "__main__":'
        ],
    ),
    "7 an upstream with a path": (
        "gateway:\n  upstreams:\n    dash: http://127.0.0.1:8050/app\n",
        [
            f"{AT}:3:5: gateway.upstreams.dash: 'http://127.0.0.1:8050/app' holds more than a host and a port; paths "
            "are passed on as they come, so write http://host:port alone"
        ],
    ),
    "8 https:// to a program of this file": (
        "gateway:\n  upstreams:\n    ws: https://127.0.0.1:8765\nws_service:\n  app: mistakes_app:app\n",
        [
            f"{AT}:3:5: gateway.upstreams.ws: is https://127.0.0.1:8765, and ws_service speaks plain HTTP at "
            "127.0.0.1:8765; write http://"
        ],
    ),
    "8 ws://": (
        "gateway:\n  upstreams:\n    ws: ws://127.0.0.1:8765\n",
        [
            f"{AT}:3:5: gateway.upstreams.ws: 'ws://127.0.0.1:8765' does not begin with http://, https:// or unix:; "
            "write http://127.0.0.1:8765"
        ],
    ),
    "9 a key that is written twice": (
        "gateway:\n  listen: 127.0.0.1:8000\n  buffer: 8KiB\n  listen: 127.0.0.1:9000\n",
        [f"{AT}:4:3: gateway.listen: is written twice; the first is on line 2"],
    ),
    "10 an unknown key and a number without its unit": (
        "gateway:\n  listne: 127.0.0.1:8000\n  timeouts: {drain: 30}\n  timeout: {}\n",
        [
            f"{AT}:2:3: gateway.listne: is not a setting; did you mean listen?",
            f"{AT}:3:14: gateway.timeouts.drain: 30 is not a duration; write a number with its unit: 30s, 500ms, 5m, "
            "1h",
            f"{AT}:4:3: gateway.timeout: is not a setting; did you mean timeouts?",
        ],
    ),
    "11 numbers where addresses belong": (
        "gateway:\n  limits: {fields: ten}\n  listen: '8000'\n  admin: 8001\nws_service:\n"
        "  app: mistakes_app:app\n  listen: 8765\n",
        [
            f"{AT}:2:12: gateway.limits.fields: expected a whole number, got the text 'ten'",
            f"{AT}:3:3: gateway.listen: '8000' is not an address; write host:port, for example 127.0.0.1:8000",
            f"{AT}:4:3: gateway.admin: 8001 is not an address; write host:port, for example 127.0.0.1:8001",
            f"{AT}:7:3: ws_service.listen: 8765 is not an address; write host:port, for example 127.0.0.1:8765",
        ],
    ),
    "14 an empty file": ("", [f"{AT}: is empty; write a section: gateway, ws_service, dash_app"]),
    "15 a variable that is not set, and one that is empty": (
        "gateway:\n  listen: ${MISTAKES_NONE}:8000\n  admin: ${MISTAKES_EMPTY}:8001\n",
        [
            f"{AT}:2:3: gateway.listen: the environment variable MISTAKES_NONE is not set; set it, or give a default: "
            "${MISTAKES_NONE:-value}",
            f"{AT}:3:3: gateway.admin: the environment variable MISTAKES_EMPTY is set but empty; give it a value, or "
            "give a default: ${MISTAKES_EMPTY:-value}",
        ],
    ),
    "16 mistakes in ws_service": (
        "ws_service:\n  listne: 127.0.0.1:8765\n  app: nosuch:app\n",
        [
            f"{AT}:2:3: ws_service.listne: is not a setting; did you mean listen?",
            f"{AT}:3:3: ws_service.app: is nosuch:app, but there is no module nosuch in HERE or among the installed "
            "packages; write the name of your script without .py, and keep the config file beside it",
        ],
    ),
    "20 sections that do not fit": (
        "gateway:\n  handoff: run/a.sock\n  upstreams: {ws: 'http://127.0.0.1:9000'}\nws_service:\n"
        "  app: mistakes_app:app\n",
        [
            f"{AT}:2:3: gateway.handoff: is run/a.sock, and ws_service.handoff is run/ws.sock: "
            "no program listens there; write the same path",
            f"{AT}:3:15: gateway.upstreams.ws: is http://127.0.0.1:9000, and ws_service.listen is 127.0.0.1:8765: "
            "no program listens there; write http://127.0.0.1:8765",
        ],
    ),
    "22 an auth path with a typing error": (
        "gateway:\n  auth: [{path: admin, ask: auth}]\n",
        [
            f"{AT}:2:10: gateway.auth[0]: path 'admin' must begin with / and not end with it; it means everything "
            "below "
            "too"
        ],
    ),
    "14b mistakes of several kinds, in one go": (
        "gateway:\n  lisen: x\n  admin: 0.0.0.0:8001\n  tls: {certificate: a.pem, key: b.pem}\n",
        [
            f"{AT}:2:3: gateway.lisen: is not a setting; did you mean listen?",
            f"{AT}:3:3: gateway.admin: 0.0.0.0:8001 can be reached from other hosts (0.0.0.0); use a loopback "
            "address or "
            "unix:path, or set admin_public: true if that is meant",
            f"{AT}:4:9: gateway.tls.certificate: HERE/a.pem cannot be read: no such file or directory",
            f"{AT}:4:29: gateway.tls.key: HERE/b.pem cannot be read: no such file or directory",
        ],
    ),
}


@pytest.mark.parametrize("row", CHECKED)
def test_check_says_what_is_wrong_and_where_and_what_to_do(
    here: Path, monkeypatch: pytest.MonkeyPatch, row: str
) -> None:
    """In this process, because a start takes most of the time; the app that the file names is imported in another."""
    text, lines = CHECKED[row]
    (here / "config.yaml").write_text(text)
    monkeypatch.chdir(here)
    done = CliRunner().invoke(main, ["check", "--config", "config.yaml"], env={"MISTAKES_EMPTY": ""})
    assert done.exit_code == 2
    said = lines_of(done.stdout + done.stderr, here)
    assert [line for line in said if ": warning: " not in line] == lines


def test_3_a_port_in_use_is_told_by_the_program_that_wants_it(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        other = f"127.0.0.1:{free_ports(1)[0]}"
        rows = (
            ("proxy", "gateway", f"{{listen: '{address}', admin: '{other}'}}", "gateway.listen"),
            ("proxy", "gateway", f"{{admin: '{address}', listen: '{other}'}}", "gateway.admin"),
            ("ws_service", "ws_service", f"{{listen: '{address}'}}", "ws_service.listen"),
        )
        for program, section, settings, end in rows:
            (here / "config.yaml").write_text(f"{section}: {settings}\n")
            code, said = run(here, program, "--config", "config.yaml")
            assert code == 1
            name = "dash-ws-proxy" if program == "proxy" else "dash-ws-service"
            assert said[-1].startswith(f"{name}: {address} is already in use; stop ")
            assert said[-1].endswith(f", or change {end}")


def test_6d_the_service_does_not_go_round_in_circles(here: Path) -> None:
    (here / "config.yaml").write_text("ws_service: {app: 'mistakes_run:app', listen: 'unix:a', handoff: off}\n")
    code, said = run(here, "ws_service")
    assert code == 2
    assert said[-1] == (
        f"{AT}:1:14: ws_service.app: is mistakes_run:app, but mistakes_run (HERE/mistakes_run.py) starts a server when "
        'it is imported, Dash.run at HERE/mistakes_run.py:8; put that under if __name__ == "__main__":'
    )


@pytest.mark.parametrize(
    ("encoding", "code"), [("utf-8", 0), ("utf-8-sig", 0), ("utf-16", 2)], ids=["CRLF", "BOM", "UTF-16"]
)
def test_12_and_13_what_windows_writes_is_read_or_told_by_its_name(here: Path, encoding: str, code: int) -> None:
    (here / "config.yaml").write_bytes("gateway:\r\n  listen: 127.0.0.1:8000\r\n".encode(encoding))
    advice = "config.yaml: is UTF-16; save it as UTF-8 (PowerShell: Out-File -Encoding utf8, instead of >)"
    lines = ["config.yaml: no mistakes (gateway)"] if code == 0 else [advice]
    assert run(here, "proxy", "check", "--config", "config.yaml") == (code, lines)


@pytest.mark.parametrize("program", ["proxy", "ws_service"])
def test_17_a_file_that_is_not_there_and_a_folder(here: Path, program: str) -> None:
    missing = ["none.yaml: there is no such file (looked in HERE)"]
    assert run(here, program, "--config", "none.yaml") == (2, missing)
    assert run(here, program, "check", "--config", "none.yaml") == (2, missing)
    assert run(here, program, "check", "--config", ".") == (
        2,
        [".: is a folder; name the file in it, such as config.yaml"],
    )


@pytest.mark.parametrize("program", ["proxy", "ws_service"])
def test_18_the_file_of_the_folder_is_used_and_a_line_says_so(here: Path, program: str) -> None:
    nothing = "there is no config.yaml in HERE; running on the defaults"
    assert run(here, program, "check") == (0, ["the defaults: no mistakes (gateway, ws_service)", nothing])
    (here / "config.yaml").write_text("gateway: {lisen: a}\n")
    mistake = "config.yaml:1:11: gateway.lisen: is not a setting; did you mean listen?"
    assert run(here, program, "check") == (2, ["using config.yaml in HERE", mistake])


def test_18_a_gateway_without_a_word_reads_the_file_and_reads_it_again(here: Path) -> None:
    port, admin = free_ports(2)
    text = f"gateway: {{listen: '127.0.0.1:{port}', admin: '127.0.0.1:{admin}', access_log: %s}}\n"
    (here / "config.yaml").write_text(text % "text")
    with running(*python("-m", "proxy"), ready="gateway ready", cwd=here) as gateway:
        assert f"INFO using config.yaml in {here}\n" in gateway.output
        (here / "config.yaml").write_text(text % "json")
        gateway.send(signal.SIGHUP)
        gateway.wait_for("^INFO changed: gateway.access_log: text -> json")


def test_19_explain_without_a_method(here: Path) -> None:
    (here / "config.yaml").write_text("gateway: {upstreams: {ws: 'http://live:1'}, handoff: off}\n")
    assert run(here, "proxy", "explain", "ws://localhost/live") == (
        0,
        ["tunnel to ws at http://live:1, by the rule 'websocket'", "using config.yaml in HERE"],
    )


def test_20_the_log_of_a_start_says_which_settings_do_not_fit(here: Path) -> None:
    port, admin, ws = free_ports(3)
    (here / "config.yaml").write_text(
        f"gateway:\n  listen: 127.0.0.1:{port}\n  admin: 127.0.0.1:{admin}\n  handoff: run/a.sock\n"
        f"  upstreams: {{ws: 'http://127.0.0.1:9'}}\nws_service:\n  listen: 127.0.0.1:{ws}\n"
    )
    with running(*python("-m", "proxy"), ready="gateway ready", cwd=here) as gateway:
        assert (
            "WARNING config.yaml:4:3: gateway.handoff: is run/a.sock, and ws_service.handoff is run/ws.sock: "
            "no program listens there; write the same path\n"
        ) in gateway.output
        assert (
            f"WARNING config.yaml:5:15: gateway.upstreams.ws: is http://127.0.0.1:9, and ws_service.listen is "
            f"127.0.0.1:{ws}: no program listens there; write http://127.0.0.1:{ws}\n"
        ) in gateway.output


@pytest.mark.parametrize("first", ["gateway", "service"])
def test_23_a_socket_in_a_folder_that_is_not_there_is_for_the_group(here: Path, first: str) -> None:
    """Whoever makes ``run/``: a proxy of another user gets in by the group, and to nothing but the gateway's socket."""
    admin = free_ports(1)[0]
    (here / "config.yaml").write_text(
        f"gateway: {{listen: 'unix:run/gateway.sock', admin: '127.0.0.1:{admin}'}}\n"
        "ws_service: {listen: 'unix:run/service.sock', app: 'mistakes_app:app'}\n"
    )
    starts = {
        "gateway": lambda: running(*python("-m", "proxy"), ready="gateway ready", cwd=here),
        "service": lambda: running(*python("-m", "ws_service"), ready="ws service ready", cwd=here),
    }
    assert run(here, "proxy", "check")[0] == 2  # its upstream is not the service's socket; nothing is made
    assert not (here / "run").exists()
    second = "service" if first == "gateway" else "gateway"
    with starts[first]() as one, starts[second]() as other:
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (here / "run").iterdir()}
        private = {"ws.sock": 0o600, "ws.sock.lock": 0o600, "hub.key": 0o600}
        assert modes == {"gateway.sock": 0o660, "service.sock": 0o660, **private}
        assert stat.S_IMODE((here / "run").stat().st_mode) == 0o750
        gateway = one if first == "gateway" else other
        assert gateway.output.splitlines()[-1].endswith(f"gateway ready on unix:{here}/run/gateway.sock") or (
            f"gateway ready on unix:{here}/run/gateway.sock\n" in gateway.output
        )
        assert "open it in a browser" not in gateway.output
