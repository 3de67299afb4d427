"""Source model → prepared model → precision recipe."""
