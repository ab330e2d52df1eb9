"""The demo: a plain Dash app with a WebSocket beside its layout."""
