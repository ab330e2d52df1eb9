"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes says more about the machine than about the code; tests that are about time measure it.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
