"""One run of the suites: settings, supplied engines, judging, timing, reports being filled."""
