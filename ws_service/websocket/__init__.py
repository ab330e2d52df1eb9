"""WebSocket connections of the service: read in bounded pieces, with limits for each client."""
