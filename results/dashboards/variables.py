"""What a reader of a dashboard chooses: devices, models, runtimes, and whose figures count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from results.dashboards.query import Condition
from results.influx.schema import TRIAL

if TYPE_CHECKING:
    from results.influx.schema import Measurement

    Json = dict[str, Any]

DATASOURCE_UID: Final = "tierlab-influxdb"
DATASOURCE: Final = {"type": "influxdb", "uid": DATASOURCE_UID}

_EVERYTHING: Final = {"includeAll": True, "allValue": ".*", "hide": 0, "skipUrlSync": False}


@dataclass(frozen=True, slots=True)
class TagVariable:
    """Some values of a tag, or all of them.

    Raises:
        KeyError: the measurement has no such tag.
    """

    name: str
    label: str
    measurement: Measurement = TRIAL

    def __post_init__(self) -> None:
        if self.name not in self.measurement.tag_names:
            raise KeyError(f"{self.measurement.name} has no {self.name}")

    @property
    def query(self) -> str:
        """What Grafana asks for the values."""
        return f'SHOW TAG VALUES FROM "{self.measurement.name}" WITH KEY = "{self.name}"'

    def json(self) -> Json:
        """As Grafana reads it."""
        return {
            "type": "query",
            "name": self.name,
            "label": self.label,
            "datasource": DATASOURCE,
            "query": self.query,
            "refresh": 2,  # when the time range changes
            "sort": 1,  # by the alphabet
            "regex": "",
            "multi": True,
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
            "options": [],
            **_EVERYTHING,
        }


@dataclass(frozen=True, slots=True)
class MarkVariable:
    """Whether figures count that are not a device's own: of a tag that is true or false.

    `chosen` is "false", "true" or, for both, "$__all".
    """

    name: str
    label: str
    chosen: str

    def json(self) -> Json:
        """As Grafana reads it."""
        texts = {"$__all": "All", "false": "without", "true": "only"}
        options = [
            {"selected": value == self.chosen, "text": text, "value": value}
            for value, text in texts.items()
        ]
        return {
            "type": "custom",
            "name": self.name,
            "label": self.label,
            "query": "without : false, only : true",
            "multi": False,
            "current": {"selected": True, "text": texts[self.chosen], "value": self.chosen},
            "options": options,
            **_EVERYTHING,
        }


Variable: TypeAlias = TagVariable | MarkVariable

WORKLOAD: Final = (
    TagVariable("profile", "device"),
    TagVariable("model", "model"),
    TagVariable("runtime", "runtime"),
)

OWN_FIGURES: Final = (
    MarkVariable("emulated", "limited devices", "false"),
    MarkVariable("software_adapter", "GPU in software", "false"),
)
"""At first only what was measured on the device itself: nothing else is a figure of it."""

ALL_FIGURES: Final = (
    MarkVariable("emulated", "limited devices", "$__all"),
    MarkVariable("software_adapter", "GPU in software", "$__all"),
)


def chosen(*variables: Variable) -> tuple[Condition, ...]:
    """That a point is among the chosen values of variables, which are named like their tags."""
    return tuple(Condition(variable.name, "=~", f"/^${variable.name}$/") for variable in variables)
