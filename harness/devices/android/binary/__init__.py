"""Native benchmark programs on a phone: pushed, run, watched, parsed, removed."""
