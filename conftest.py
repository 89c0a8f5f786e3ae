"""Makes tierlab's options and fixtures known wherever pytest is started in this checkout."""

pytest_plugins = ("harness.plugin",)
