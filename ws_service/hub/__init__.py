"""The hub: topics that pages subscribe to, and what is published to them.

It speaks a declared subset of Centrifugo's JSON client protocol and HTTP API (``docs/reference/hub-protocol.md``).
"""
