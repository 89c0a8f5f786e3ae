"""What became worse, since which version, and whether the trials can tell."""
