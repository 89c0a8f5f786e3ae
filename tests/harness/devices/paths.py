"""Where the tests' own pages are."""

from pathlib import Path

#: Served below `/deaths/`: an engine that ends as it is told.
DEATHS = Path(__file__).parents[1] / "data"
