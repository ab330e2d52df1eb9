"""The WebSocket service: it hosts the user's own endpoints.

Nothing is imported here, so that whoever needs one module loads one module.
"""
