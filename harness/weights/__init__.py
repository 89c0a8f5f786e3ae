"""Artifacts: synthetic models written on the spot, and the user's own model files."""
