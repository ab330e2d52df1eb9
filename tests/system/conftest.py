"""Fixtures of the system tests, from the modules that hold them."""

from tests.system.browser import chromium, tab

__all__ = ["chromium", "tab"]
