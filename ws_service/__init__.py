"""The WebSocket service: it hosts the user's own endpoints.

No module of it is imported here, so that whoever needs one module loads one module.
"""

from os import environ

# The library ``websockets`` refuses a line of more than 8 KiB and more than 128 fields, and reads these two variables
# when it is imported (websockets.readthedocs.io, "Environment variables"). What the gateway passes on is larger, so the
# bounds are those of ``ws_service.library``, which are checked before the library sees a head. Here, because nothing of
# the package can be imported before it; a worker inherits them. What the operator has set stays.
environ.setdefault("WEBSOCKETS_MAX_LINE_LENGTH", str(1 << 30))
environ.setdefault("WEBSOCKETS_MAX_NUM_HEADERS", str(1 << 30))
