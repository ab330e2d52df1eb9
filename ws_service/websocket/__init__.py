"""WebSocket connections of the service: read in bounded pieces, with limits for each client."""

from os import environ

# The library ``websockets`` refuses a line of more than 8 KiB and more than 128 fields, and reads these two variables
# when it is imported (websockets.readthedocs.io, "Environment variables"). The gateway forwards larger heads; the
# limits are those of ``ws_service.websocket.library``, which are checked before the library sees a head. They are set
# here, because the modules that a service starts with import this package before the hub or the user's app imports the
# library; a worker inherits them. Values that the operator has set are kept. A process that only publishes keeps the
# library's limits.
environ.setdefault("WEBSOCKETS_MAX_LINE_LENGTH", str(1 << 30))
environ.setdefault("WEBSOCKETS_MAX_NUM_HEADERS", str(1 << 30))
