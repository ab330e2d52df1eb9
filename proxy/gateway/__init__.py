"""One request: routed, forwarded, answered and recorded."""
