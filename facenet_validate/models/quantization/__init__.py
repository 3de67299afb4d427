"""Prepared model → FP16 and INT8 graphs."""
