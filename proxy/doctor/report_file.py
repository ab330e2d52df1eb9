"""The file that ``--report`` writes: what was found, the settings, and versions; redacted."""

from __future__ import annotations

import json
import os
import platform
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxy.doctor.redaction import Redaction, hosts_in
from ws_service.config.file import Section
from ws_service.version import version_of

PACKAGES = (
    *("dash-ws-proxy", "aiohttp", "uvloop", "httptools", "pydantic", "fastapi", "starlette", "uvicorn", "websockets"),
    *("dash", "flask", "werkzeug", "quart", "gunicorn", "redis", "dash-extensions"),
)
"""Whose versions are in a report, where they are installed."""


def write_report(path: Path, findings: Mapping[str, Any], sections: Mapping[str, Section], url: str | None) -> None:
    """Write a report, for its owner alone. What was there is replaced.

    findings: as for ``--json``. sections: the settings that were used. url: the public address; it becomes a pseudonym.
    Raises OSError.
    """
    settings = {name: section.model_dump(mode="json") for name, section in sections.items()}
    redaction = Redaction([*hosts_in(settings), *hosts_in(url)])
    values = redaction.values({**findings, "settings": settings, "environment": environment()})
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):  # and not /dev/stdout
            os.fchmod(descriptor, 0o600)  # one that was there may be open to others
        json.dump(values, file, indent=2)  # in ASCII: a field of an answer may hold what UTF-8 cannot write
        file.write("\n")


def environment() -> dict[str, Any]:
    """Return the versions of what runs here, which need not be what the programs that were asked run on."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: found for name in PACKAGES if (found := version_of(name))},
    }
