# Many Buildbot workers in one process: a connection and a folder each. Python, read by twistd.
#
# They are real workers, but they share an interpreter, so this measures the master and not them.

import os
from pathlib import Path

from twisted.application import service

from buildbot_worker.bot import Worker

application = service.Application("workers")
home = Path(os.environ["LOAD_HOME"])
for number in range(int(os.environ["LOAD_WORKERS"])):
    folder = home / f"phone-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    Worker(
        "127.0.0.1",
        int(os.environ["LOAD_PORT"]),
        f"phone-{number}",
        "secret",
        str(folder),
        keepalive=30,
        maxdelay=2,
    ).setServiceParent(application)
