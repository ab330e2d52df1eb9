"""What pip cannot install: configurable-http-proxy and ws from npm, nginx and HAProxy from Debian. For ``make bench``.

A peer that cannot be had is no failure: the run names it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import click

from benchmarks import hubs
from benchmarks.peers import FROM_NPM, Missing, find

NPM = {"chp": "configurable-http-proxy@5", "ws on Node": "ws@8"}
"""Names of subjects, and of packages."""

DEBIAN = ("nginx", "haproxy")
"""Names of proxies, and of packages."""

SYSTEMD = Path("/run/systemd/system")
"""Is there while systemd runs. It would start what Debian installs, and nobody asked for a server on port 80:
there, the owner installs. In a container nothing is started."""


def main() -> None:
    """Install whatever is missing and can be had here."""
    if any(isinstance(subject, Missing) for subject in (find("chp"), hubs.find("ws on Node"))) and shutil.which("npm"):
        _run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(FROM_NPM), *NPM.values())
    packages = [name for name in DEBIAN if isinstance(find(name), Missing)]
    if packages and shutil.which("apt-get") and os.geteuid() == 0 and not SYSTEMD.exists():
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)
    find.cache_clear()
    hubs.find.cache_clear()
    for subject in (*map(find, ("chp", *DEBIAN)), hubs.find("ws on Node")):
        if isinstance(subject, Missing):
            click.echo(f"the benchmarks will leave out {subject.name}: {subject.reason}", err=True)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, check=False)
    if done.returncode:
        click.echo(f"{' '.join(argv)} failed with code {done.returncode}", err=True)


if __name__ == "__main__":
    main()
