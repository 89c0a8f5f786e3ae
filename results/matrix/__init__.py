"""The compatibility matrix: which device runs which model, and how that is known."""
