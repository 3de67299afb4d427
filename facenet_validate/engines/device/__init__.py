"""The device an engine runs on: memory, streams, events and graphs, and nothing else."""
