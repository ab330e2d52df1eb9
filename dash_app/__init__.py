"""The demo: a simple Dash app with a WebSocket endpoint beside its layout."""
