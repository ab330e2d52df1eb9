"""State machines: a block of Mermaid, which GitHub draws, becomes the SVG of docs/drawings/ with the same text."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Mermaid(SphinxDirective):
    """A drawing. The page holds it itself, so that its lines have the colour of the text, light or dark."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the SVG."""
        text = "\n".join(self.content) + "\n"
        for path in sorted((Path(self.env.app.srcdir) / "docs" / "drawings").glob("*.mmd")):
            if path.read_text("utf-8") == text:
                drawing = path.with_suffix(".svg")
                self.env.note_dependency(str(drawing))
                return [nodes.raw("", f'<div class="drawing">{drawing.read_text("utf-8")}</div>', format="html")]
        raise self.error("no drawing in docs/drawings/ has this text; run: python -m tests.test_drawings")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("mermaid", Mermaid)
    return {"parallel_read_safe": True}
