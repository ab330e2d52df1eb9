"""The upstream side: connections, the request queue, retries and health checks."""
