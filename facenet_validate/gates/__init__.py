"""Gates: their limits, verdicts and records."""
