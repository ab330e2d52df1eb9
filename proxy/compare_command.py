"""``check --compare``: what is printed, and the exit code."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack

import aiohttp
import click

from proxy.doctor.compare import Compared, NoDash, as_json, compare, lines_of
from proxy.doctor.differences import MAY_DIFFER
from proxy.doctor.endpoint import Endpoint
from proxy.doctor.programs import reason
from proxy.doctor.report import CANNOT_RUN, FOUND, NOTHING_FOUND, encodable
from ws_service.logs.formatter import one_line


def run_compare(direct: str, gateway: str, fields: Mapping[str, str], *, is_json: bool, is_quiet: bool) -> int:
    """Compare two URLs, and print each request as it is answered; return the exit code.

    fields: header fields of each request. is_quiet: only requests whose answers differ are printed.
    """
    try:
        compared = asyncio.run(_compared(direct, gateway, fields, is_shown=not is_json, is_quiet=is_quiet))
    except (NoDash, aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        where = ""
        if isinstance(error, aiohttp.ClientConnectorError):
            where = f"{error.host}:{error.port} cannot be reached: "
        click.echo(one_line(f"{where}{reason(error)}"), err=True)
        return CANNOT_RUN
    count = sum(bool(each.differences) for each in compared)
    code = FOUND if count else NOTHING_FOUND
    if is_json:
        click.echo(json.dumps(as_json((direct, gateway), compared, code), indent=2))  # in ASCII, as of ``check --live``
    elif not is_quiet:
        click.echo(f"{count} of {len(compared)} answers differ" if count else f"{len(compared)} answers are the same")
        click.echo(f"not compared: {', '.join(MAY_DIFFER)}")
    return code


async def _compared(
    direct: str, gateway: str, fields: Mapping[str, str], *, is_shown: bool, is_quiet: bool
) -> list[Compared]:
    context = ssl.create_default_context()
    ends = Endpoint("direct", direct, context, fields), Endpoint("gateway", gateway, context, fields)
    found = []
    async with AsyncExitStack() as stack:
        for endpoint in ends:
            stack.push_async_callback(endpoint.close)
        async for compared in compare(*ends):
            found.append(compared)
            if is_shown and (compared.differences or not is_quiet):
                for line in encodable(lines_of(compared), sys.stdout.encoding):
                    click.echo(line)
    return found
