"""One request: routed, sent on, answered and recorded."""
