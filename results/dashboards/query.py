"""InfluxQL queries whose every name is checked against the schema when they are made.

The text has Grafana's own words in it: `$timeFilter`, `$__interval`, and the dashboard's variables
as regular expressions (`=~ /^$model$/`), because several values may be chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from results.influx.schema import Measurement


@dataclass(frozen=True, slots=True)
class Column:
    """What is selected: a field under a function of InfluxQL, or a field or tag as it is.

    Attributes:
        source: the field or tag.
        function: such as `mean`; empty for each point's own value.
        name: the heading; empty for InfluxQL's own.
    """

    source: str
    function: str = ""
    name: str = ""

    def __str__(self) -> str:
        value = f'{self.function}("{self.source}")' if self.function else f'"{self.source}"'
        return f'{value} AS "{self.name}"' if self.name else value


def count(field: str, name: str = "") -> Column:
    """How many points have the field."""
    return Column(field, "count", name)


def total(field: str, name: str = "") -> Column:
    """Their sum."""
    return Column(field, "sum", name)


def mean(field: str, name: str = "") -> Column:
    """Their mean; of fields of 1 or 0 a share."""
    return Column(field, "mean", name)


def median(field: str, name: str = "") -> Column:
    """Their median."""
    return Column(field, "median", name)


def lowest(field: str, name: str = "") -> Column:
    """The lowest."""
    return Column(field, "min", name)


def highest(field: str, name: str = "") -> Column:
    """The highest."""
    return Column(field, "max", name)


def latest(field: str, name: str = "") -> Column:
    """The latest."""
    return Column(field, "last", name)


@dataclass(frozen=True, slots=True)
class Condition:
    """What holds of a tag: `value` is InfluxQL, a string or a regular expression."""

    tag: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f'"{self.tag}" {self.operator} {self.value}'


def equals(tag: str, value: str) -> Condition:
    """The tag has that value."""
    return Condition(tag, "=", f"'{value}'")


def differs(tag: str, value: str) -> Condition:
    """The tag has another value."""
    return Condition(tag, "!=", f"'{value}'")


def ends_with(tag: str, value: str) -> Condition:
    """The tag's value ends so."""
    return Condition(tag, "=~", f"/{value}$/")


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    Attributes:
        measurement: what is asked.
        columns: what of it.
        where: conditions that all hold, the panel's time range aside.
        by: tags, each of whose values is a group.
        over_time: whether a group is divided into steps of `$__interval`.
        latest: of single points only so many, the latest first.
        legend: how a series is named, such as `$tag_model`; empty for a table.

    Raises:
        KeyError: a name is not in the schema of the measurement.
    """

    measurement: Measurement
    columns: tuple[Column, ...]
    where: tuple[Condition, ...] = ()
    by: tuple[str, ...] = ()
    over_time: bool = False
    latest: int | None = None
    legend: str = ""

    def __post_init__(self) -> None:
        fields, tags = self.measurement.field_types.keys(), self.measurement.tag_names
        used = {column.source for column in self.columns}
        filtered = {condition.tag for condition in self.where} | set(self.by)
        unknown = {column.source for column in self.columns if column.function} - fields
        unknown |= (used - fields - tags) | (filtered - tags)
        if unknown:
            raise KeyError(f"{self.measurement.name} has no {', '.join(sorted(unknown))}")

    @property
    def text(self) -> str:
        """InfluxQL, as Grafana is given it."""
        groups = [f'"{tag}"' for tag in self.by]
        if self.over_time:
            groups.insert(0, "time($__interval)")
        parts = [
            ("SELECT", ", ".join(map(str, self.columns))),
            ("FROM", f'"{self.measurement.name}"'),
            ("WHERE", " AND ".join(["$timeFilter", *map(str, self.where)])),
            ("GROUP BY", ", ".join(groups)),
            ("", "fill(none)" if self.over_time else ""),
            ("ORDER BY", f"time DESC LIMIT {self.latest}" if self.latest else ""),
        ]
        return " ".join(f"{word} {rest}".strip() for word, rest in parts if rest)


def over_time(
    measurement: Measurement,
    column: Column,
    where: tuple[Condition, ...],
    by: tuple[str, ...],
    legend: str = "",
) -> Query:
    """A series a group; named by the groups' values, unless a legend says otherwise."""
    named = legend or ", ".join(f"$tag_{tag}" for tag in by)
    return Query(measurement, (column,), where, by, over_time=True, legend=named)
