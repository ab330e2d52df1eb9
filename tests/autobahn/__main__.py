"""``make autobahn``: Autobahn's client against one endpoint, directly, through a tunnel, and handed over.

The gateway must not be seen: every case has the verdict that it has without it. What the endpoint itself makes of
a case is uvicorn's affair, and not always the same: where a good message is followed at once by a bad frame, whether
the echo still leaves depends on how many bytes one read returns. So a case that differs is run again many times, all
ways and with every core busy, which makes reads larger; it is a difference if the gateway gives it a verdict that it
never has without.

Exit codes: 0 no difference, 1 differences (they are listed), 3 there is no CPython 2.7, without which Autobahn does
not run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from tests.autobahn.verdicts import Difference, Report, Seen, differences, seen, summary, unsteady
from tests.processes import ROOT
from tests.system.handoff import gateway_for, running_service

SUITE = "autobahntestsuite==25.10.1"
"""The newest, and still for Python 2.7 alone."""

VIRTUALENV = "virtualenv<20.22"
"""The last that makes environments for 2.7."""

HOME = ROOT / ".autobahn"
"""Where the suite is installed and where its reports go; git does not see it."""

WITHOUT, TUNNEL, HANDOFF = "without the gateway", "through the tunnel", "handed over"

LEFT_OUT = [f"{group}.{variant}.{size}" for group in (12, 13) for variant in range(1, 8) for size in range(6, 19)]
"""Compressed messages of 8 to 128 KiB, a thousand in each case: 156 cases of up to 131 MB each way, which is an hour
of Python 2's zlib and nothing that the gateway would see otherwise. Messages of 16 bytes to 4 KiB stay in, for each
set of parameters."""

AGAIN = 100
"""How often a case that differs is run again. Of the cases that are known to go either way, one run in ten goes the
rarer one."""

NO_PYTHON2 = 3

Reports = dict[str, list[Report]]
"""What each run found, by way."""


def main() -> int:
    """Run the suite; return the exit code."""
    parser = argparse.ArgumentParser(prog="make autobahn", description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", nargs="+", default=["*"], metavar="PATTERN", help="such as 7.* or 1.1.1")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped on the way out
    python2 = find_python2()
    if python2 is None:
        print(
            "autobahn: not run: its suite needs CPython 2.7, and there is none on the path or under pyenv; "
            "say where it is with make autobahn PYTHON2=/path/to/python2.7",
            file=sys.stderr,
        )
        return NO_PYTHON2
    began = time.monotonic()
    reports = run(installed(python2), options.cases)
    print(f"\n{time.monotonic() - began:.0f} s; the reports are in {HOME.relative_to(ROOT) / 'reports'}")
    for way, (first, *_) in reports.items():
        print(f"  {way + ':':21} {len(first)} cases, {summary(first)}")
    if cases := unsteady(seen(reports[WITHOUT])):
        print(f"  not always the same without the gateway: {', '.join(cases)}")
    found = compared(reports)
    for way, difference in found:
        print(f"  {way}: {difference}")
    print(f"{len(found)} differences")
    return 1 if found or not reports[WITHOUT][0] else 0


def compared(reports: Reports) -> list[tuple[str, Difference]]:
    """Return where the ways through the gateway differ from the one without it."""
    by_way: dict[str, Seen] = {way: seen(runs) for way, runs in reports.items()}
    return [(way, difference) for way in (TUNNEL, HANDOFF) for difference in differences(by_way[WITHOUT], by_way[way])]


def find_python2() -> str | None:
    """Return an interpreter of 2.7 that really runs: a shim of pyenv may be there and lead nowhere."""
    named = os.environ.get("PYTHON2")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = (shutil.which("python2.7"), *sorted(pyenv.glob("versions/2.7*/bin/python2.7"), reverse=True))
    for candidate in [named] if named else found:
        if candidate is not None and _is_python2(str(candidate)):
            return str(candidate)
    return None


def _is_python2(candidate: str) -> bool:
    program = "import sys; sys.exit(sys.version_info[:2] != (2, 7))"
    try:
        return subprocess.run([candidate, "-c", program], capture_output=True, timeout=20).returncode == 0
    except OSError:
        return False


def installed(python2: str) -> Path:
    """Install the suite unless it is there; return its program."""
    wstest = HOME / "suite" / "bin" / "wstest"
    done = HOME / "installed"
    if not done.exists() or done.read_text() != SUITE:
        print(f"installing {SUITE} for {python2}, once", flush=True)
        shutil.rmtree(HOME, ignore_errors=True)
        venv.create(HOME / "tools", with_pip=True)
        pip = "install", "-qq", "--disable-pip-version-check"
        subprocess.run([HOME / "tools/bin/pip", *pip, VIRTUALENV], check=True)
        subprocess.run([HOME / "tools/bin/virtualenv", "--quiet", "-p", python2, HOME / "suite"], check=True)
        subprocess.run([HOME / "suite/bin/pip", *pip, SUITE], check=True)
        done.write_text(SUITE)
    return wstest


def run(wstest: Path, cases: list[str]) -> Reports:
    """Run every case all three ways against one service, and those again that differ; return the reports by way."""
    shutil.rmtree(HOME / "reports", ignore_errors=True)
    (HOME / "wstest.log").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="autobahn-") as name:
        folder = Path(name)
        app = (ROOT / "tests/system/apps/echo.py").read_text()
        with (
            running_service(folder, app=app) as service,
            gateway_for(folder, service, handoff="off") as tunnels,
            gateway_for(folder, service) as hands_over,
        ):
            addresses = {WITHOUT: service.url, TUNNEL: tunnels.url, HANDOFF: hands_over.url}
            index = fuzz(wstest, folder, addresses, cases)
            reports: Reports = {way: [index.get(way, {})] for way in addresses}
            if doubtful := list(dict.fromkeys(difference.case for _, difference in compared(reports))):
                print(f"  {AGAIN} times more, because they differ: {', '.join(doubtful)}", flush=True)
                names = {f"{way} {number}": way for way in addresses for number in range(AGAIN)}
                with busy_cores():
                    index = fuzz(wstest, folder, {n: addresses[way] for n, way in names.items()}, doubtful)
                for name_again, way in names.items():
                    reports[way].append(index.get(name_again, {}))
            check_that_each_went_its_way(tunnels.process.output, hands_over.process.output)
    return reports


@contextmanager
def busy_cores() -> Iterator[None]:
    """Leave no core idle for the length of a ``with`` block."""
    with ExitStack() as stack:
        for _ in range((os.cpu_count() or 1) + 1):
            burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(burner.wait)
            stack.callback(burner.kill)
        yield


def fuzz(wstest: Path, folder: Path, addresses: Mapping[str, str], cases: list[str]) -> dict[str, Report]:
    """Run Autobahn's client against some addresses, and show how far it is; return its ``index.json``.

    addresses: URLs, by the name that the reports give them. Its pages of each case are those of the last run.
    """
    reports = HOME / "reports"
    spec = folder / "fuzzingclient.json"
    spec.write_text(
        json.dumps(
            {
                "outdir": str(reports),
                "servers": [
                    {"agent": name, "url": f"{url.replace('http', 'ws', 1)}/echo", "options": {"version": 18}}
                    for name, url in addresses.items()
                ],
                "cases": cases,
                "exclude-cases": LEFT_OUT,
                "exclude-agent-cases": {},
            }
        )
    )
    child = subprocess.Popen(
        [wstest, "--mode", "fuzzingclient", "--spec", spec],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        assert child.stdout is not None
        with (HOME / "wstest.log").open("a") as log:
            for line in _progress(_copied(child.stdout, log)):
                print(line, flush=True)
        code = child.wait()
    finally:
        child.kill()
        child.wait()
    if code != 0:
        raise SystemExit(f"autobahn: its client ended with code {code}; {log.name} has its words")
    index: dict[str, Report] = json.loads((reports / "index.json").read_text())
    return index


def _copied(lines: Iterable[str], log: TextIO) -> Iterator[str]:
    for line in lines:
        log.write(line)
        yield line


def _progress(lines: Iterable[str]) -> Iterator[str]:
    """Yield a line for each group of cases, and one for all that are run again."""
    group = ""
    for line in lines:
        match = re.match(r"Running test case ID (\d+)\.\S+ for agent (.+?)( \d+)? from peer", line)
        if match is not None:
            now = f"{match[2]}, again" if match[3] else f"{match[2]}, cases {match[1]}.*"
            if now != group:
                group = now
                yield f"  {group}"


def check_that_each_went_its_way(tunnels: str, hands_over: str) -> None:
    """Fail when the gateway's log says that a connection went otherwise than it should have."""
    if " handed off " in tunnels or " tunnel " in hands_over:
        raise SystemExit("autobahn: a connection went the other way; the comparison would prove nothing")


if __name__ == "__main__":
    sys.exit(main())
