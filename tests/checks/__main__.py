"""``python -m tests.checks``: print what is wrong, and exit with 1 if anything is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.checks import documents, private_names, vocabulary

ROOT = Path(__file__).parents[2]


def findings(root: Path = ROOT) -> Iterator[str]:
    """Yield a line for each finding of all checks."""
    for found in (vocabulary.findings_in(root), private_names.findings_in(root / "proxy"), documents.findings(root)):
        for path, line, what in found:
            yield f"{path}:{line}: {what}"


if __name__ == "__main__":
    wrong = list(findings())
    print("\n".join([*wrong, f"{len(wrong)} findings"]))
    sys.exit(bool(wrong))
