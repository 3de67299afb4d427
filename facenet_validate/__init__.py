"""Validation of FP16 and INT8 FaceNet engines as a pytest plugin and suites."""
