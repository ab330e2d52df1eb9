"""Numbers that are counted in the page: none is missing, whichever service is restarted meanwhile."""

from dash import Dash, Input, Output, State, dcc, html

from ws_service.dash import Live

app = Dash(__name__, title="Two services")
app.layout = html.Main(
    [
        html.H1("Two services, one hub"),
        html.P(["Number ", html.Output(id="last"), ", missing ", html.Output(id="missing")]),
        html.P(["The connection: ", html.Output(id="state")]),
        dcc.Store(id="numbers"),
        dcc.Store(id="seen", data={"last": None, "missing": 0}),
        Live("numbers", into="numbers", mode="list", id="live"),
    ]
)
app.clientside_callback(
    """(numbers, seen) => {
        let {last, missing} = seen;
        for (const {n} of (numbers || {batch: []}).batch) {
            if (last !== null) missing += n - last - 1;
            last = n;
        }
        return [{last, missing}, last, missing];
    }""",
    Output("seen", "data"),
    Output("last", "children"),
    Output("missing", "children"),
    Input("numbers", "data"),
    State("seen", "data"),
)
app.clientside_callback("state => state", Output("state", "children"), Input("live", "state"))
server = app.server
server.test_client().get("/_dash-dependencies")  # sets Dash up now, not while threads answer (plotly/dash#3971)
