"""The report to look at: ``results.json`` → one self-contained page."""
