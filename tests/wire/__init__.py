"""HTTP messages and WebSocket frames as bytes, built and read without any code of the gateway or the service."""
