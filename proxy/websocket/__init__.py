"""A WebSocket: its handshake, its tunnel, or its hand-off to the service."""
