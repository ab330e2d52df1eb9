"""What the pages of the hub show is typed as it is: in the folder of the config file, with both programs running."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.processes import ROOT, Process, running
from tests.system.hub.hub import Hub, running_hub

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl is not installed; on Debian: apt install curl"
)

CHAPTERS = {
    chapter.partition("\n")[0]: chapter
    for page in ("hub.md", "reference/hub-protocol.md")
    for chapter in re.split(r"^## ", (ROOT / "docs" / page).read_text("utf-8"), flags=re.MULTILINE)
}

STREAMS = "Event streams, and the raw form"


def lines(chapter: str, part: str) -> list[str]:
    """Return the lines of shell of a chapter that have a part, each command as a whole."""
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```$", CHAPTERS[chapter], re.MULTILINE | re.DOTALL))
    found = [line for line in blocks.splitlines() if part in line]
    assert found, f"the pages of the hub have no {part!r} in {chapter!r}"
    return found


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with the documented namespace, whose key is in the file that it makes."""
    [settings] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", CHAPTERS[STREAMS], re.DOTALL)]
    namespaces = settings["ws_service"]["hub"]["namespaces"]
    with running_hub(tmp_path_factory.mktemp("hub"), has_key_file=True, namespaces=namespaces) as hub:
        yield hub


def shell(hub: Hub, text: str) -> list[str]:
    """Return the command that runs what is typed, where our ports are the documented ones."""
    for documented, here in (("127.0.0.1:8000", hub.gateway.authority), ("127.0.0.1:8765", f"127.0.0.1:{hub.port}")):
        text = text.replace(documented, here)
    return ["bash", "-c", f"PATH={Path(sys.executable).parent}:$PATH\ncd {hub.folder}\n{text}"]


def typed(hub: Hub, text: str) -> str:
    """Type it, wait for its end, and return what it printed."""
    process = Process(shell(hub, text))
    assert process.wait() == 0, process.output
    process.stop()
    return process.output


def test_a_stream_is_read_and_published_to(hub: Hub) -> None:
    curls, publishes = lines(STREAMS, "curl -N"), lines(STREAMS, "dash-ws-service publish")
    for curl, publish, data in (
        (curls[0], publishes[0], '"pub":{"data":"12:00"'),
        (curls[1], publishes[0], 'data: "12:00"$'),
        (curls[2], publishes[1], r'data: \{"AAPL":\s?189\.2\}$'),
    ):
        with running(*shell(hub, curl), ready="retry:") as stream:
            typed(hub, publish)
            stream.wait_for(data)


def test_the_api_is_asked_with_the_key_of_the_file(hub: Hub) -> None:
    [key] = lines("The HTTP API", "KEY=$(")
    [curl] = lines("The HTTP API", "curl ")
    assert '"offset":' in typed(hub, f"{key}\n{curl}")


def test_a_token_is_made(hub: Hub) -> None:
    for line in lines("Which clients may listen", "dash-ws-service token"):
        assert typed(hub, line).count(".") == 2, line


def test_what_is_tried_first_is_published(hub: Hub) -> None:
    [publish] = lines("Try it", "dash-ws-service publish")
    typed(hub, publish)
    for line in lines("Publishing", "dash-ws-service publish prices"):
        typed(hub, line)
