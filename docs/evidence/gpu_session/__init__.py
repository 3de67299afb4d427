"""The parts of docs/evidence/first_gpu_session.py, a module a concern."""
