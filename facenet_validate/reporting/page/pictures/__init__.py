"""A module a kind of picture: a part of ``results.json`` → a figure."""
