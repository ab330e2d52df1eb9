"""Live data in a Dash page: ``Live("prices", into="prices")`` in a layout fills the component ``prices``.

Importing this package is the opt-in: from then on each Dash app of the process serves the scripts below, which are
written by hand, except for ``centrifuge.js`` (npm ``centrifuge`` 5.8.0, MIT, its ``dist/centrifuge.js`` unchanged; npm
``events`` 3.3.0, MIT, is in it).
"""

import ws_service
from ws_service.dash.live import Live

__all__ = ["Live"]

SCRIPTS = (
    "centrifuge",
    "merge",
    "queue",
    "sequence",
    "mark",
    "connection",
    "listener",
    "target",
    "delivery",
    "live",
    "hub",
)
"""In the order in which a page loads them; each uses only earlier ones while it loads."""

# Dash looks for a component's scripts in the top-level package of its class (ComponentRegistry.get_resources), and for
# ``__version__`` there (Dash._collect_and_register_resources).
vars(ws_service)["_js_dist"] = [
    {"relative_package_path": f"dash/js/{name}.js", "namespace": ws_service.__name__} for name in SCRIPTS
]
