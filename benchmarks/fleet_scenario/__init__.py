"""A lab of many hosts on one machine, and what breaks in it; see `__main__`."""
