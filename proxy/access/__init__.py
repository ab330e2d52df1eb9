"""Which requests are allowed: forward authentication, and the Origin check of WebSockets."""
