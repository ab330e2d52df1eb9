"""The demo, a tour of small pages: what a Dash app can do with a hub and WebSockets beside it."""
