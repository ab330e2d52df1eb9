"""Which methods may be sent again, and when (RFC 9110, section 9.2)."""

from __future__ import annotations

SAFE = frozenset(("GET", "HEAD"))
"""These may be sent again whenever they got no response. Not PUT and DELETE: sent twice they do no harm, but a while
later they may undo what the user has done since."""

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))
"""These may be sent again at once when it is not known whether they arrived (section 9.2.2)."""
