"""The service's log goes on whatever the user's module does to ``logging``."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Iterator

import pytest

from ws_service.logs.service_log import service_log

pytestmark = pytest.mark.usefixtures("logging_restored")


@pytest.fixture
def logging_restored() -> Iterator[None]:
    names = ("", "ws_service", "uvicorn")
    before = {n: (list(logging.getLogger(n).handlers), logging.getLogger(n).level) for n in names}
    yield
    for name, (handlers, level) in before.items():
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = handlers, True
        logger.setLevel(level)
    for known in logging.root.manager.loggerDict.values():
        if isinstance(known, logging.Logger):
            known.disabled = False


def messages(capfd: pytest.CaptureFixture[str]) -> list[str]:
    return [line.split(" ", 2)[2] for line in capfd.readouterr().err.splitlines()]


def test_the_log_works_again_after_a_module_that_switched_it_off(capfd: pytest.CaptureFixture[str]) -> None:
    with service_log() as set_up:
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
        set_up()
        logging.getLogger("ws_service.server").info("still here")
        logging.getLogger("uvicorn.error").warning("me too")
    assert messages(capfd) == ["INFO still here", "WARNING me too"]


def test_a_shutdown_of_logging_writes_what_waits(capfd: pytest.CaptureFixture[str]) -> None:
    with service_log():
        logging.getLogger("ws_service").info("before the process leaves")
        logging.shutdown()
        assert messages(capfd) == ["INFO before the process leaves"]
