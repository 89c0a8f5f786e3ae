"""The matrix as data: what `matrix.json` holds, validated both ways.

Modelled on MDN's browser-compat-data: the JSON is the product and pages are rendered from it; what
is compared (devices, models, runtimes) is described once, and a tree of support statements refers
to it by id. `matrix.schema.json` is generated from these classes.

There are three trees, so that a reader who takes `support` never meets a figure that is not a
device's own.
"""

from __future__ import annotations

import math
from datetime import datetime  # noqa: TC003 - pydantic reads annotations at run time
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, FiniteFloat, WithJsonSchema

from results.record import Interval, Part, Verdict
from results.tiers import Tier  # noqa: TC001 - as above

MATRIX_VERSION: Final = 1

Section = Literal["support", "limited", "software_adapter"]

SECTIONS: Final[dict[Section, str]] = {
    "support": "measured on the device itself",
    "limited": "measured under limits that stand for a smaller device, or on an emulated one",
    "software_adapter": (
        "measured on a GPU in software: it runs there, and how slowly is no statement about any GPU"
    ),
}
"""The trees of the matrix, and what the figures in each are."""

BY_SEVERITY: Final = (
    Verdict.OK,
    Verdict.UNSUPPORTED,
    Verdict.HANG,
    Verdict.CRASH,
    Verdict.OOM,
)
"""The verdicts that say something of a device, the best first."""


def _of_the_device(verdict: Verdict) -> Verdict:
    if verdict not in BY_SEVERITY:
        raise ValueError(f"{verdict} says nothing of a device: it makes no cell")
    return verdict


def _finite(interval: Interval) -> Interval:
    if not all(map(math.isfinite, (interval.low, interval.expected, interval.high))):
        raise ValueError(f"{interval} is not finite")
    return interval


Figure = Annotated[FiniteFloat, Field(ge=0)]

FiniteInterval = Annotated[Interval, AfterValidator(_finite)]

DeviceVerdict = Annotated[
    Verdict,
    AfterValidator(_of_the_device),
    WithJsonSchema({"enum": [str(verdict) for verdict in BY_SEVERITY], "type": "string"}),
]
"""A verdict that says something of a device: neither `infra` nor `cascade`."""


class Meta(Part):
    """About the matrix itself."""

    schema_version: Literal[1] = MATRIX_VERSION
    generated_at: datetime
    generator: str = Field(description="tierlab and its version")
    trials: int = Field(description="how many trials the cells rest on")
    infra_trials: int = Field(
        description="trials that failed by the lab's own fault: they say nothing of any device"
    )
    expiry_days: int = Field(description="after so many days a cell's figures count as out of date")
    metrics: dict[str, str] = Field(description="what is measured: its unit and meaning, by name")


class DeviceEntry(Part):
    """A device of the matrix."""

    name: str
    profile: str
    kind: str
    hardware: str = Field(default="", description="processor, cores and memory, of a desktop")
    limited: bool = Field(
        default=False, description="whether limits stand for a smaller device, or it is emulated"
    )
    memory_limit_bytes: int | None = Field(default=None, description="of a limited device")
    cpu_limit: FiniteFloat | None = Field(default=None, description="in cores")


class ModelEntry(Part):
    """A model of the matrix."""

    name: str
    quantisations: tuple[str, ...] = Field(description="those that were tried")


class RuntimeEntry(Part):
    """A runtime of the matrix: an inference engine with a backend."""

    engine: str
    backend: str
    versions: tuple[str, ...] = Field(description="those that the cells rest on, newest first")


class Spreading(Part):
    """A figure over those trials of a cell that ended in its verdict: median, lowest, highest."""

    n: int = Field(description="of how many trials it is known")
    median: Figure
    low: Figure
    high: Figure


class Predicted(Part):
    """What the newest trial's probe foretold."""

    verdict: Literal["ok", "oom", "unsupported", "unknown"]
    tier: Tier | None
    metrics: dict[str, FiniteInterval] = Field(description="by name, see `metrics` in `__meta`")


class Versions(Part):
    """What the figures hold for; the next version may differ."""

    browser: str
    browser_version: str
    runtime_version: str
    harness_version: str


class ArtifactEntry(Part):
    """The model file that was loaded."""

    key: str
    kind: Literal["synthetic", "real"]
    total_bytes: int


class CellConditions(Part):
    """Under which circumstances the figures came to be."""

    prompt_tokens: int
    output_tokens: int
    source: str
    variant: str
    operating_system: str
    adapter: str | None
    threads: int | None
    at_rest: int = Field(description="trials during which nothing else kept the host busy")
    temperature_celsius: FiniteFloat | None = Field(default=None, description="the highest")
    throttled: int = Field(default=0, description="trials during which a CPU limit held it back")


class Cell(Part):
    """What is known of one workload on one device: the newest trials that are alike.

    Alike: the same browser build, runtime version, artifact, and lengths of prompt and output as
    the newest trial. `verdict` is that of most of them, the worse where there are as many.
    """

    verdict: DeviceVerdict
    verdicts: dict[DeviceVerdict, int] = Field(description="how many trials ended in each")
    cause: str = Field(description="of the newest trial with that verdict")
    tier: Tier | None = Field(
        description="measured: the lower of those of prefill and decode, by their medians"
    )
    predicted: Predicted
    judgements: dict[str, int] = Field(description="how often the prediction was right, or how not")
    n: int = Field(description="how many trials the cell rests on")
    measured: dict[str, Spreading] = Field(description="by name, see `metrics` in `__meta`")
    versions: Versions
    artifact: ArtifactEntry | None
    conditions: CellConditions
    emulated: bool
    software_adapter: bool
    first_trial_at: datetime
    last_trial_at: datetime
    expires_at: datetime
    newest_trial: str = Field(default="", description="the id of the newest trial")
    evidence: str = Field(
        description="the newest trial's evidence, relative to this file",
        pattern=r"^evidence/[A-Za-z0-9_-]+\.json$",
    )

    def expired(self, at: datetime) -> bool:
        """Whether the figures are out of date."""
        return self.expires_at <= at


Tree = dict[str, dict[str, dict[str, dict[str, tuple[Cell, ...]]]]]
"""Model, quantisation, runtime, device: the cells, one a source and variant.

All are ids: keys of `models` and `runtimes`, names of quantisations, keys of `devices`.
"""


class Matrix(Part):
    """The whole matrix."""

    meta: Meta = Field(alias="__meta")
    devices: dict[str, DeviceEntry]
    models: dict[str, ModelEntry]
    runtimes: dict[str, RuntimeEntry]
    support: Tree = Field(description=SECTIONS["support"])
    limited: Tree = Field(description=SECTIONS["limited"])
    software_adapter: Tree = Field(description=SECTIONS["software_adapter"])

    def tree(self, section: Section) -> Tree:
        """The cells of one section."""
        trees: dict[Section, Tree] = {
            "support": self.support,
            "limited": self.limited,
            "software_adapter": self.software_adapter,
        }
        return trees[section]
