"""Which requests may pass: forward authentication, and the Origin check of WebSockets."""
