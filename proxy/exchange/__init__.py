"""The record of an exchange, the access log that is written from it, and what is in flight."""
