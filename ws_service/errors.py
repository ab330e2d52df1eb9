"""What can go wrong in the service.

- ServiceError
    - ConfigError: the config file has mistakes; carries every one of them
    - AppError: the user's ``module:attr`` cannot be served
    - ExtraError: a setting needs a package that is not installed
    - KeyFileError: there is no key for the hub's tokens
    - ListenError: the address cannot be listened on
    - PublishError: the hub has not published a message
"""

from __future__ import annotations

from dataclasses import dataclass

from ws_service.logs.formatter import escaped, one_line

_LONGEST_KEY = 200
"""Characters of a key that are shown."""


class ServiceError(Exception):
    """Base of everything that this package raises on purpose."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a config file.

    ``line`` and ``column`` count from 1; None where the mistake has no place
    of its own (a file that does not exist). ``key`` is the dotted path, or
    empty when the file as a whole is meant.
    """

    message: str
    key: str = ""
    line: int | None = None
    column: int | None = None


class ConfigError(ServiceError):
    """The config file cannot be used; ``mistakes`` holds all of them, in the order of the file.

    Text of the file is escaped in its message, so that it cannot be a command to a terminal.
    """

    def __init__(self, source: str, mistakes: list[Mistake]) -> None:
        self.source = source
        self.mistakes = sorted(mistakes, key=lambda m: (m.line or 0, m.column or 0))
        super().__init__("\n".join(self._sentence(m) for m in self.mistakes))

    def _sentence(self, mistake: Mistake) -> str:
        place = ":".join(str(p) for p in (self.source, mistake.line, mistake.column) if p is not None)
        message = "\n".join(map(escaped, mistake.message.split("\n")))  # the traceback of an app has lines
        key = one_line(mistake.key, _LONGEST_KEY)
        return f"{escaped(place)}: {key}: {message}" if key else f"{escaped(place)}: {message}"


class AppError(ServiceError):
    """The object that ``ws_service.app`` names cannot be served.

    The message is one sentence for the operator; ``__cause__`` is the
    exception of the user's module, where there is one.
    """


class ExtraError(ServiceError):
    """A setting needs a package that is not installed; the message is one sentence for the operator."""


class KeyFileError(ServiceError):
    """The hub's key cannot be had; the message is one sentence for the operator, and does not show it."""


class ListenError(ServiceError):
    """The service cannot listen where it was told to; the message is one sentence for the operator."""


class PublishError(ServiceError):
    """The hub has not published a message, as far as it is known; the message is a sentence for the programmer.

    code: of the hub's error (docs/reference/hub-protocol.md). None: the hub was not found or not reached, or has not
    answered.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
