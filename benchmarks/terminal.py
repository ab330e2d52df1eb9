"""The tables as the terminal shows them. Pure."""

from __future__ import annotations

from benchmarks.results import Results
from benchmarks.workloads import ALL


def tables(results: Results) -> str:
    """Return every workload's figures, medians alone."""
    lines = []
    for workload in ALL:
        cells = [cell for cell in results.cells if cell.workload == workload.name]
        figures = list(dict.fromkeys(name for cell in cells for row in cell.rounds for name in row))
        if not figures:
            continue
        lines += ["", f"{workload.title} (medians)", "".join([" " * 17, *(f"{name:>16}" for name in figures)])]
        for cell in cells:
            row = [results.summary(workload.name, cell.subject, name) for name in figures]
            shown = "".join(f"{figure.median:16,.2f}" if figure else f"{'':16}" for figure in row)
            lines.append(f"{cell.subject:17}{cell.error or shown}")
    lines += [f"{subject.name} is missing: {subject.missing}" for subject in results.subjects if subject.missing]
    return "\n".join(lines)
