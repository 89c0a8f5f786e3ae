"""The process that draws charts: a Vega-Lite specification a line in, an SVG a line out, as JSON.

Run as a script, by its path; `results.site.drawing` talks to it. A specification that is no good is
answered with `null`.
"""

from __future__ import annotations

import json
import sys

import vl_convert


def main() -> None:
    """Answer until there is nothing more to read."""
    for line in sys.stdin:
        try:
            svg = vl_convert.vegalite_to_svg(json.loads(line))
        except ValueError:
            svg = None
        sys.stdout.write(json.dumps(svg) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
