"""The zero-weight probe: a JS package that measures, and the Python side that predicts from it."""
