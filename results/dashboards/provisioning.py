"""The files that Grafana is started with: dashboards, and where to find them and the data.

Formats: https://grafana.com/docs/grafana/latest/administration/provisioning/ and
https://grafana.com/docs/grafana/latest/datasources/influxdb/configure/. Grafana puts environment
variables into the YAML files when it starts, so that neither address nor token is in any file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from results.dashboards import DASHBOARDS
from results.dashboards.variables import DATASOURCE_UID
from results.files import replaced

if TYPE_CHECKING:
    from pathlib import Path

_DATASOURCE: Final = f"""\
# InfluxDB, asked in InfluxQL. Grafana takes the values from its own environment; the token need
# only read.
apiVersion: 1
datasources:
  - name: tierlab
    uid: {DATASOURCE_UID}
    type: influxdb
    access: proxy
    url: $TIERLAB_INFLUX_URL
    jsonData:
      version: InfluxQL
      httpMode: POST
      dbName: $TIERLAB_INFLUX_BUCKET
      httpHeaderName1: Authorization
    secureJsonData:
      httpHeaderValue1: Token $TIERLAB_INFLUX_TOKEN
    editable: false
"""

_PROVIDER: Final = """\
apiVersion: 1
providers:
  - name: tierlab
    type: file
    folder: tierlab
    allowUiUpdates: false
    options:
      path: {path}
"""


class DashboardsError(Exception):
    """The files cannot be written; the message says which one, why, and what to do."""


def write_dashboards(folder: Path, *, grafana_folder: str | None = None) -> list[Path]:
    """Write every file into a folder, each whole or not at all; those that are there are replaced.

    Args:
        folder: gets `dashboards/` and `provisioning/`; made where it is missing.
        grafana_folder: where Grafana will see the dashboards; without it, where they are written.

    Returns:
        What was written.

    Raises:
        DashboardsError: a file cannot be written.
    """
    dashboards = folder / "dashboards"
    # Grafana expands "$" in these files, and writes a real one as "$$".
    path = (grafana_folder or str(dashboards.absolute())).replace("$", "$$")
    texts = {
        dashboards / f"{dashboard.uid}.json": json.dumps(dashboard.json(), indent=2) + "\n"
        for dashboard in DASHBOARDS
    } | {
        folder / "provisioning" / "datasources" / "tierlab.yaml": _DATASOURCE,
        # JSON's strings are YAML's too.
        folder / "provisioning" / "dashboards" / "tierlab.yaml": _PROVIDER.format(
            path=json.dumps(path)
        ),
    }
    for file, text in texts.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replaced(file) as written:
                written.write(text.encode())
        except OSError as error:
            raise DashboardsError(
                f"{file}: cannot be written: {error.strerror or error}\n"
                "  -> name a folder that you may write to"
            ) from error
    return list(texts)
