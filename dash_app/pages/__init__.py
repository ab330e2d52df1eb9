"""The pages of the tour; here is what they have in common."""

import inspect
from collections.abc import Callable
from typing import Any

from dash import html


def page(title: str, lead: str, *content: Any, lines: list[Callable[..., Any]]) -> html.Div:
    """Return a page: a title, a sentence, what is shown, and the lines of the demo that do it."""
    code = html.Code("\n".join(inspect.getsource(each) for each in lines))
    shown = html.Details([html.Summary("The lines that do it"), html.Pre(code, tabIndex=0)], open=True)
    return html.Div([html.H1(title), html.P(lead, className="lead"), *content, shown], className="page")


def card(*content: Any, kind: str = "") -> html.Section:
    """Return a part of a page with a frame."""
    return html.Section([*content], className=f"card {kind}")


def tiles(*figures: tuple[str, ...]) -> html.Section:
    """Return figures: each the id of the component that has its value, and its name."""
    return html.Section(
        [html.Div([html.H2(name), html.P("…", id=key)], className=f"tile {key}") for key, name in figures],
        className="tiles",
    )
