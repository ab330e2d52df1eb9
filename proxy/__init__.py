"""The gateway: one port in front of a Dash server and a WebSocket service."""
