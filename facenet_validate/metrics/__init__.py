"""Verification, paired comparison and parity: pure mathematics on arrays."""
