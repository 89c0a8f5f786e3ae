"""The suites find their helpers, such as `oversized`, wherever pytest is started."""
