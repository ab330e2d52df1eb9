"""A module that serves while it is imported is stopped at the line that does it; one that waits is told about."""

from __future__ import annotations

import importlib
import sys
import threading
from pathlib import Path

import pytest
import uvicorn

from ws_service.hosting.import_guard import ServesAtImport, guarded_import


class Module:
    """Code that is run as a module of its own would be."""

    def __init__(self, folder: Path, text: str) -> None:
        self.path = folder / "module.py"
        self.path.write_text(text)
        self.names: dict[str, object] = {"__name__": "module", "__file__": str(self.path)}

    def run(self, slow: float = 60.0) -> None:
        with guarded_import("module", self.path.parent, slow):
            exec(compile(self.path.read_text(), str(self.path), "exec"), self.names)


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("import uvicorn\nuvicorn.run('a:app', reload=True)\n", "uvicorn.run", 2),
        # without log_config=None uvicorn would set the logging of this process, for the tests that come after it too
        ("import uvicorn\nuvicorn.Server(uvicorn.Config('a:app', log_config=None)).run()\n", "Server.run", 2),
        ("import flask\napp = flask.Flask('a')\n\napp.run(debug=True)\n", "Flask.run", 4),
        ("from dash import Dash\napp = Dash('a')\napp.run(debug=True)\n", "Dash.run", 3),
        ("from dash import Dash\napp = Dash('a', backend='fastapi')\napp.run(debug=True)\n", "Dash.run", 3),
        ("try:\n  import uvicorn\n  uvicorn.run('a')\nexcept Exception:\n  pass\n", "uvicorn.run", 3),
    ],
)
def test_what_serves_at_import_is_refused_with_its_line(tmp_path: Path, text: str, what: str, line: int) -> None:
    module = Module(tmp_path, text)
    with pytest.raises(ServesAtImport) as caught:
        module.run()
    assert str(caught.value) == f"{what} at {module.path}:{line}"


def test_a_package_that_comes_with_the_import_is_refused_too_and_is_whole_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``waitress`` stands for those that are not loaded yet."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "waitress", raising=False)
    (tmp_path / "waitress.py").write_text("def serve(app):\n    return 'served'\n")
    finders = list(sys.meta_path)
    with pytest.raises(ServesAtImport, match=r"waitress\.serve at"):
        Module(tmp_path, "import waitress\nwaitress.serve(None)\n").run()
    assert sys.modules["waitress"].serve(None) == "served"
    assert importlib.reload(sys.modules["waitress"]).serve(None) == "served"
    assert sys.meta_path == finders


def test_in_a_thread_of_its_own_a_module_may_serve_what_it_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn, "run", lambda what: what)
    text = "import threading, uvicorn\nfound = []\n"
    text += "t = threading.Thread(target=lambda: found.append(uvicorn.run('metrics')))\nt.start()\nt.join()\n"
    module = Module(tmp_path, text)
    module.run()
    assert module.names["found"] == ["metrics"]


def test_an_import_that_takes_long_is_said_with_the_line_it_stands_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()
    module = Module(tmp_path, "import time\n\nwait()\n")
    module.names["wait"] = lambda: go_on.wait(30)
    with caplog.at_level("WARNING", "ws_service"):
        imported = threading.Thread(target=module.run, args=(0.01,))
        imported.start()
        while not caplog.messages:
            imported.join(0.01)
        go_on.set()
        imported.join()
    assert caplog.messages == [
        f"still importing module after 0.01 s, at {module.path}:3; "
        "what waits, or serves, belongs under if __name__ == '__main__':"
    ]
