"""The WebSocket service: it hosts the user's own endpoints.

No module of it is imported here, so that a program that needs one module loads only that one.
"""

from os import environ

# The library ``websockets`` refuses a line of more than 8 KiB and more than 128 fields, and reads these two variables
# when it is imported (websockets.readthedocs.io, "Environment variables"). The gateway forwards larger heads; the
# limits are those of ``ws_service.websocket.library``, which are checked before the library sees a head. They are set
# here, because no module of the package can be imported earlier; a worker inherits them. Values that the operator has
# set are kept.
environ.setdefault("WEBSOCKETS_MAX_LINE_LENGTH", str(1 << 30))
environ.setdefault("WEBSOCKETS_MAX_NUM_HEADERS", str(1 << 30))
