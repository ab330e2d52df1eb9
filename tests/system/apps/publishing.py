"""Programs of a user that publish: a Flask app for gunicorn, a Celery app, a Dash app with a background callback."""

from __future__ import annotations

import os
import threading

from flask import Flask

from ws_service import publish

publish("started", os.getpid())  # with --preload it happens in gunicorn's master, before the fork

server = Flask(__name__)


@server.get("/publish/<int:count>")
def many(count: int) -> dict[str, object]:
    """Publish so many messages, as a callback does."""
    published = sum(publish("from:callback", {"pid": os.getpid(), "n": number}) is not None for number in range(count))
    return {"pid": os.getpid(), "published": published, "thread": threading.current_thread().name}
