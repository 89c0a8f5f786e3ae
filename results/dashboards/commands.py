"""`tierlab dashboards`: Grafana's dashboards over InfluxDB, as files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from results.dashboards.provisioning import write_dashboards
from results.table import plain

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_DESCRIPTION = """\
Writes Grafana dashboards over what tierlab sends to InfluxDB, and the files that make
Grafana load them when it starts:

  DIR/dashboards/*.json                          fleet health, tier accuracy, tokens/s by
                                                 browser version, OOMs, outbox
  DIR/provisioning/dashboards/tierlab.yaml       where Grafana finds them
  DIR/provisioning/datasources/tierlab.yaml      InfluxDB, asked in InfluxQL

Address, bucket and token are not written: Grafana takes them from its own environment, from
TIERLAB_INFLUX_URL, TIERLAB_INFLUX_BUCKET and TIERLAB_INFLUX_TOKEN. Files of these names are
replaced. What there is to ask for is in docs/influx-schema.md."""

_EXAMPLES = """\
examples:
  tierlab dashboards grafana
  GF_PATHS_PROVISIONING=$PWD/grafana/provisioning grafana server --homepath /usr/share/grafana

  tierlab dashboards grafana --grafana-folder /var/lib/grafana/dashboards
                                     for a Grafana that sees them under another name, such as one
                                     in a container"""


def add_commands(subparsers: Subparsers) -> None:
    """Add `dashboards`, which sets `func`."""
    parser = subparsers.add_parser(
        "dashboards",
        help="write Grafana dashboards over InfluxDB",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="made where it is missing")
    parser.add_argument(
        "--grafana-folder",
        metavar="PATH",
        help="where Grafana will see the dashboards (default: DIR/dashboards as it is here)",
    )
    parser.set_defaults(func=_write)


def _write(options: argparse.Namespace) -> int:
    console = Console()
    for file in write_dashboards(options.folder, grafana_folder=options.grafana_folder):
        console.print(plain(str(file)), markup=False, highlight=False, soft_wrap=True)
    return 0
