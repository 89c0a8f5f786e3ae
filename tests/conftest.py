"""The project's own tests write to nobody's InfluxDB but those that they start."""

from __future__ import annotations

import os

for name in ("URL", "ORG", "BUCKET", "TOKEN", "TOKEN_FILE"):
    os.environ.pop(f"TIERLAB_INFLUX_{name}", None)
