"""Sockets that a gateway hands over: the messages, the socket file, and how a socket becomes uvicorn's."""
