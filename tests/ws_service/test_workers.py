"""What a worker process gets, and what the first process finds out before it starts any. System tests run them."""

from __future__ import annotations

import pickle
import signal
import socket
import threading
from functools import partial
from pathlib import Path

import pytest
from uvicorn.supervisors import multiprocess

from ws_service import workers
from ws_service.app import create_app
from ws_service.config.settings import Settings
from ws_service.errors import ListenError
from ws_service.handoff.socket_file import Claim, is_possible
from ws_service.reload import Reload
from ws_service.server import options


def config(settings: Settings, folder: Path) -> workers.WorkerConfig:
    made = workers.WorkerConfig(partial(create_app, settings, folder), **options(settings))
    made.settings, made.folder, made.address = settings, folder, "http://127.0.0.1:8765"
    return made


def test_a_worker_gets_everything_by_pickle(tmp_path: Path) -> None:
    settings = Settings(workers=3, drain="7s", trusted_proxies=("10.0.0.1",))  # type: ignore[arg-type]
    arrived = pickle.loads(pickle.dumps(config(settings, tmp_path)))
    assert (arrived.settings, arrived.folder, arrived.workers) == (settings, tmp_path, 3)
    assert arrived.timeout_graceful_shutdown == 7
    assert callable(arrived.app)


def test_canary_uvicorns_process_has_our_server_in_it(tmp_path: Path) -> None:
    worker = workers.Worker(config(Settings(workers=2), tmp_path), [])
    assert isinstance(worker.server, workers.WorkerServer)
    assert worker.server is worker.server
    assert multiprocess.Multiprocess.init_processes.__globals__["Process"] is multiprocess.Process, "found by its name"


@pytest.mark.skipif(not is_possible(), reason="sockets are handed over on Linux alone")
def test_a_path_that_another_service_answers_is_found_before_a_process_starts(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "run" / "ws.sock")
    never: list[socket.socket] = []
    with pytest.raises(ListenError, match="is answered by another ws service already"):
        workers.run(partial(create_app, Settings()), Settings(workers=2), tmp_path, never, Reload(None, Settings()))
    claim.release()


def test_a_replacement_has_time_to_start_and_a_stop_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def restart_all(self: workers.Supervisor) -> None:
        seen.extend((self.config.is_replacement, self.config.timeout_worker_healthcheck))
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(workers.Supervisor, "restart_all", restart_all)
    supervisor = workers.Supervisor.__new__(workers.Supervisor)
    supervisor.config, supervisor.processes_num = config(Settings(workers=2), tmp_path), 2
    supervisor.should_exit = threading.Event()
    before, handlers = dict(vars(supervisor.config)), [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    supervisor.handle_usr1()
    assert seen == [True, workers.START]
    assert supervisor.should_exit.is_set()
    assert vars(supervisor.config) == before
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
