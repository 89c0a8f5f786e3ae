"""How the jobs of a fleet end, as exit codes.

Those of pytest keep their meaning (0 passed, 1 something failed about a device, 2 to 5 pytest could
not run); 75 and 69 are those of `sysexits.h`, 124 is that of `timeout`.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What an exit code means for a job."""

    OK = 0
    FAILED = 1
    """A suite test failed: a statement about the device, which stands."""
    UNAVAILABLE = 69
    """The device cannot be used now (EX_UNAVAILABLE): nothing was begun, and it is nobody's try."""
    LAB_FAULT = 75
    """Nothing but faults of the lab's own (EX_TEMPFAIL): worth another try."""
    DEADLINE = 124
    """The deadline passed with something left undone."""
