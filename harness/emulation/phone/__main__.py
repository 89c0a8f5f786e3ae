"""`python -m harness.emulation.phone`: one virtual phone; `start.py` starts it."""

import os
import sys

from harness.emulation.phone.supervisor import main

if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)
