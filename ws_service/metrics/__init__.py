"""What the service counts and knows, of all its workers: for Prometheus, and for the status page of the gateway."""
