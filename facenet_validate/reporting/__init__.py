"""The terminal summary and ``results.json``."""
