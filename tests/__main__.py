"""``python -m tests [unit|system|browser|test] [arguments of pytest]``: what ``make unit`` and the like run."""

from __future__ import annotations

import sys

from tests.side_by_side import main

sys.exit(main(sys.argv[1:]))
