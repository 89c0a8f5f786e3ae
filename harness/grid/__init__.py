"""The grid: many small trials of many stand-in devices, planned, resumable, one after the other."""
