"""``/status`` of the admin listener: a page for people, and the same as JSON for programs."""

from __future__ import annotations

from functools import partial

from proxy.http1.headers import Head
from proxy.server.admin import AdminResponse, Make, json_response
from proxy.status.document import StatusDocument
from proxy.status.page import FIELDS, page
from proxy.status.query import BadQuery, Query, read_query, wants_page


class StatusRoute:
    """Answers requests for the status. document: makes it."""

    def __init__(self, document: StatusDocument) -> None:
        self._document = document

    def status(self, request: Head) -> AdminResponse | Make:
        """Answer with the page where HTML is asked for, else with JSON; the query says which sockets that lists."""
        if wants_page(request.get(b"accept")):
            body, fields = page()
            return AdminResponse(200, b"text/html; charset=utf-8", body, fields)
        try:
            query = read_query(request.target)
        except BadQuery as error:
            return json_response(400, {"error": str(error)}, FIELDS)
        return partial(self._json, query)

    async def _json(self, query: Query) -> AdminResponse:
        return json_response(200, await self._document.make(query), FIELDS)
