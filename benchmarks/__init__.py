"""Measurements of a real server from outside, each beside what the same stack does without us: `python -m benchmarks`."""
