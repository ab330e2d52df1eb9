"""The status page: what the process knows of itself, for the person who looks, and the same as JSON."""
