"""Programs of other projects that tests start: where each is, and what to install where it is not."""

from __future__ import annotations

import os
import shutil
import sysconfig

import pytest

PLACES = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
"""Debian has the servers where only root looks for programs."""


def program(name: str, package: str = "") -> str:
    """Return the path of a program, or skip the test. package: Debian's, or "pip install ..."."""
    path = shutil.which(name, path=PLACES)
    if path is None:
        how = package if package.startswith("pip ") else f"on Debian: apt install {package or name}"
        pytest.skip(f"there is no {name}; {how}")
    return path
