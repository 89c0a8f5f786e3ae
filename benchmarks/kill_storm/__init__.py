"""Random `kill -9` over runs, and what must hold after: `python -m benchmarks.kill_storm`."""
