"""The log of the service: one line for each event on standard error, also for uvicorn and for the user's app."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ws_service.logs.log_writer import LogHandler, standard_error

_PATTERN = "%(asctime)s %(levelname)s %(message)s"

_LEVELS = {"ws_service": logging.INFO, "uvicorn": logging.WARNING}


@contextmanager
def service_log() -> Iterator[Callable[[], None]]:
    """Log to standard error until the ``with`` block ends, without waiting for the reader of the log.

    Gives a function to be called once the user's module has been imported: a ``logging.config`` call in there may
    have switched the loggers of this process off.
    """
    with standard_error() as writer:

        def set_up() -> None:
            # A new one each time: logging.config forgets those that it finds, and logging.shutdown would not flush it.
            _set_up(LogHandler(writer, _PATTERN))

        set_up()
        yield set_up


def _set_up(handler: logging.Handler) -> None:
    root = logging.getLogger()
    if not [one for one in root.handlers if not isinstance(one, LogHandler)]:
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)
    for name, level in _LEVELS.items():
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
    for name, known in logging.root.manager.loggerDict.items():
        if isinstance(known, logging.Logger) and name.partition(".")[0] in _LEVELS:
            known.disabled = False
