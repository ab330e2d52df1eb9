"""Fixtures of the tests that start an example: Chromium, and a page that complains."""

from tests.system.browser import chromium, tab

__all__ = ["chromium", "tab"]
