"""The language of ``config.yaml``, which both programs read, and the settings of the service."""
