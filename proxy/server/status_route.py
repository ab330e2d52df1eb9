"""``/status`` of the admin listener: a page for people, and the same as JSON for programs."""

from __future__ import annotations

import json

from proxy.http1.headers import Head
from proxy.server.admin import AdminResponse, Made
from proxy.status.document import StatusDocument
from proxy.status.page import FIELDS, page
from proxy.status.query import BadQuery, Query, read_query, wants_page

_JSON = b"application/json; charset=utf-8"


class StatusRoute:
    """Answers requests for the status. document: makes it."""

    def __init__(self, document: StatusDocument) -> None:
        self._document = document

    def status(self, request: Head) -> AdminResponse | Made:
        """Answer with the page where HTML is asked for, else with JSON; the query says which sockets that lists."""
        if wants_page(request.get(b"accept")):
            body, fields = page()
            return AdminResponse(200, b"text/html; charset=utf-8", body, fields)
        try:
            query = read_query(request.target)
        except BadQuery as error:
            return AdminResponse(400, _JSON, json.dumps({"error": str(error)}).encode(), FIELDS)
        return self._json(query)

    async def _json(self, query: Query) -> AdminResponse:
        return AdminResponse(200, _JSON, json.dumps(await self._document.make(query)).encode(), FIELDS)
