"""Who may do what: forward authentication, and the Origin check of WebSockets."""
