"""What a checkout of tierlab has besides its packages; the wheel does not have it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SUITES: Final = Path(__file__).parents[1] / "suites"
"""What `pytest` collects."""
