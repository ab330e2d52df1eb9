"""Tests. The service's package comes first: its limits of a head must be set before anybody imports ``websockets``."""

import ws_service as ws_service
