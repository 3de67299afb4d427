"""OpenVINO on this machine's CPU."""
