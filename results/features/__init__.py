"""The feature database: devices as the probe sees them, and what came of loads on them."""
