"""Sphinx: the documentation site. Its source folder is the repository, so that README.md is a page of it, too."""

from __future__ import annotations

import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs" / "site"))

project = "dash-ws-proxy"
author = "the authors of dash-ws-proxy"
html_title = project
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**", "examples/**.md"]
exclude_patterns = [".*", "build", "*.egg-info", "benchmarks", "dash_app", "proxy", "ws_service", "tests"]

extensions = ["myst_parser", "navigation", "drawings", "folders", "searched"]
nitpicky = True
highlight_language = "none"
lexers.update(
    dict.fromkeys(("caddy", "caddyfile", "haproxy", "log"), TextLexer())
)  # GitHub knows them; Pygments does not
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

html_theme = "furo"
html_static_path = ["site/static"]
html_extra_path = ["site/extra"]
html_favicon = "site/static/icon.svg"
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
