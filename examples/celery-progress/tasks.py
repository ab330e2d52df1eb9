"""The Celery app: a task that publishes how far it is."""

import os
import time

from celery import Celery

from ws_service import publish

PARTS = 20

broker = os.environ.get("BROKER_URL", f"redis://127.0.0.1:{os.environ.get('BROKER_PORT', '6390')}/0")
celery = Celery("tasks", broker=broker, broker_connection_retry_on_startup=True)


@celery.task(bind=True)
def export(self):
    topic = f"job:{self.request.id}"
    try:
        for part in range(1, PARTS + 1):
            time.sleep(0.1)  # a part of your work
            publish(topic, {"done": part, "text": f"{part} of {PARTS} parts are exported"})
    except Exception:
        publish(topic, {"done": 0, "text": "The export has failed."})
        raise
