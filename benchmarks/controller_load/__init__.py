"""What one Buildbot master bears: `python -m benchmarks.controller_load --help`."""
