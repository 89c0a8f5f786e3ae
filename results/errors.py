"""The errors of the results that a user can mend."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot be used; the message says which file, why, and what to do."""
