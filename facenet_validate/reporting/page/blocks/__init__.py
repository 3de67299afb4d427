"""A function a measurement: what the page shows of it, as a block."""
