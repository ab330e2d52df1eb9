"""``python -m tests.checks``: print what is wrong, and exit with 1 if anything is.

``baseline.txt`` has what was there before the checks: for each file a number that may only become smaller, and goes
when it is 0. ``python -m tests.checks --lower`` writes it anew.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from tests.checks import documents, private_names, vocabulary

ROOT = Path(__file__).parents[2]
BASELINE = Path(__file__).with_name("baseline.txt")


def found_in(root: Path) -> dict[tuple[str, str], list[str]]:
    """Return the lines to print, by (check, file)."""
    found: dict[tuple[str, str], list[str]] = {}
    for check, findings in (
        ("vocabulary", vocabulary.findings_in(root)),
        ("private names", private_names.findings_in(root / "proxy")),
        ("documents", documents.findings(root)),
    ):
        for path, line, what in findings:
            found.setdefault((check, path), []).append(f"{path}:{line}: {what}")
    return found


def baseline() -> Counter[tuple[str, str]]:
    """Return how many findings are still allowed, by (check, file)."""
    lines = BASELINE.read_text("utf-8").splitlines() if BASELINE.exists() else []
    rows = (line.rsplit(": ", 2) for line in lines)
    return Counter({(check, path): int(number) for check, path, number in rows})


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    found, allowed = found_in(ROOT), baseline()
    if "--lower" in arguments:
        left = {key: min(len(lines), allowed[key]) for key, lines in found.items() if allowed[key]}
        BASELINE.write_text("".join(f"{check}: {path}: {left[check, path]}\n" for check, path in sorted(left)), "utf-8")
    wrong = [line for key, lines in found.items() if len(lines) > allowed[key] for line in lines]
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
