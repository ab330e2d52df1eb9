"""Autobahn's client suite with and without the gateway: ``make autobahn``."""
