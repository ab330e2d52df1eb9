"""What passes between the hub and a broker. The contract that every broker keeps is in ``brokers/``."""

from __future__ import annotations

from ws_service.hub.broker import Keep, Published
from ws_service.hub.publication import Publication


def test_a_topic_without_history_keeps_none() -> None:
    assert Keep().size == 0


def test_a_publication_without_history_has_no_epoch() -> None:
    assert Published("prices", Publication(b"1")).epoch == ""
