"""Verification sets, alignment, synthetic faces, image loading."""
