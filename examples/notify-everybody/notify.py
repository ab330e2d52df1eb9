"""python notify.py "The site is down from 18:00 to 18:10": show a notice on every page. Without a text it is gone."""

import sys

from ws_service import publish

publish("notice", {"text": " ".join(sys.argv[1:])}, raise_errors=True)
