"""The schema of InfluxDB as Markdown, for docs/influx-schema.md.

    python -m results.influx.schema_markdown docs/influx-schema.md

writes the tables between the two marks of a document anew and leaves the rest of it as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from results.files import replaced
from results.influx.schema import MEASUREMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from results.influx.schema import Measurement

BEGIN: Final = "<!-- made by `python -m results.influx.schema_markdown`: begin -->"
END: Final = "<!-- end -->"


def schema_markdown() -> str:
    """A section a measurement, with a table of its tags and one of its fields."""
    return "\n".join(line for measurement in MEASUREMENTS for line in _section(measurement))


def with_schema(document: str) -> str:
    """The document with today's schema between the marks.

    Raises:
        ValueError: it does not have each mark once, in order.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or END in before or BEGIN in after:
        raise ValueError(f"the document needs the marks {BEGIN} and {END}, once each")
    return f"{before}{BEGIN}\n\n{schema_markdown()}\n{END}{after}"


def _section(measurement: Measurement) -> Iterator[str]:
    yield f"### `{measurement.name}`"
    yield ""
    yield f"{measurement.meaning} Its time is {measurement.time}."
    yield ""
    yield from _table(
        ("tag", "meaning"), [(f"`{tag.name}`", tag.meaning) for tag in measurement.tags]
    )
    yield from _table(
        ("field", "type", "unit", "meaning"),
        [
            (f"`{field.name}`", str(field.type), field.unit, field.meaning)
            for field in measurement.fields
        ],
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def main(words: Sequence[str]) -> int:
    """Bring one document up to date."""
    if len(words) != 1:
        sys.stderr.write("usage: python -m results.influx.schema_markdown docs/influx-schema.md\n")
        return 2
    path = Path(words[0])
    text = with_schema(path.read_text(encoding="utf-8"))
    with replaced(path) as file:
        file.write(text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
