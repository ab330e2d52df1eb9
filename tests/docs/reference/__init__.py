"""The reference: pages that are written from the code, by ``python -m tests.docs.reference``."""

from __future__ import annotations

from tests.docs.reference import commands, interface, modules, settings
from tests.processes import ROOT

COMMAND = "python -m tests.docs.reference"

FOLDER = ROOT / "docs" / "reference"

PAGES = {"settings": settings.page, "commands": commands.page, "python": interface.page, "modules": modules.page}
"""What writes each page, by its name."""
