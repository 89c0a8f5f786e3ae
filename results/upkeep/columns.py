"""The columns of an export: the figures of a trial and its cell, each with its meaning."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import NoneType
from typing import Final, get_args, get_type_hints

from results.figures import METRICS, CellKey, Figures


class Kind(StrEnum):
    """What a column holds, in words of its user."""

    TEXT = "text"
    FLAG = "true or false"
    WHOLE = "whole number"
    REAL = "number"
    TIME = "time in UTC"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, what it holds, whether it can be empty, and what it means."""

    name: str
    kind: Kind
    nullable: bool
    meaning: str


_MEANINGS: Final = {
    "profile": "the device profile",
    "hardware": "processor, cores and memory, of a desktop; else empty",
    "limited": "limits stand for a smaller device: these are not a device's own figures",
    "software_adapter": "WebGPU ran on the processor: these are not a GPU's figures",
    "model": "the architecture",
    "quantisation": "how the weights are stored",
    "variant": "a special artifact of the model, such as pruned-50; else empty",
    "runtime": "the inference engine with its backend",
    "source": "where the page took the bytes from",
    "trial_id": "the trial",
    "run_id": "the run it was part of",
    "started_at": "when it began",
    "host": "the lab host that the device hangs on",
    "verdict": "what happened: ok, oom, crash, hang, unsupported, infra or cascade",
    "cause": "what the verdict rests on",
    "tier": "measured: the lower of prefill and decode",
    "predicted_verdict": "what the probe said would happen: ok, oom, unsupported or unknown",
    "predicted_tier": "the tier it said",
    "judgement": "right, over-promise, under-promise or unknown",
    "prompt_tokens": "length of the prompt that was asked for",
    "output_tokens": "length of the answer that was asked for",
    "artifact_key": "the model file",
    "artifact_kind": "synthetic (random weights) or real",
    "artifact_bytes": "its size",
    "harness_version": "the version of tierlab",
    "browser": "the browser; empty outside of one",
    "browser_version": "its full version",
    "runtime_version": "the engine's version",
    "operating_system": "name and version",
    "adapter": "the GPU, as WebGPU names it",
    "threads": "of the engine",
    "load_average": "of the host, over 1 minute, just before the trial",
    "host_at_rest": "nothing else kept the host busy just before the load",
    "temperature_celsius": "of the device",
    "throttled_seconds": "for so long a CPU limit held the processes back",
    "load_seconds": "download and create together",
    "first_token_seconds": "from the first prompt to its first token, compilation included",
    "prefill_tokens_per_s": "tokens of the prompt a second",
    "decode_tokens_per_s": "tokens of the answer a second, from the mean of its steps",
    "peak_bytes": "peak memory of the processes that hold the model",
}

_KINDS: Final = {str: Kind.TEXT, bool: Kind.FLAG, int: Kind.WHOLE, float: Kind.REAL}
_OTHER_KINDS: Final = {"started_at": Kind.TIME, "host_at_rest": Kind.FLAG}
_OF_INTERVAL: Final = {
    "": "expected by the probe",
    "_low": "lower bound of what the probe expects (9 times in 10 it is inside)",
    "_high": "upper bound of what the probe expects",
}


def _columns(owner: type) -> tuple[Column, ...]:
    return tuple(_column(name, hint) for name, hint in get_type_hints(owner).items())


def _column(name: str, hint: object) -> Column:
    kinds = get_args(hint) or (hint,)
    return Column(
        name=name,
        kind=_OTHER_KINDS.get(name, _KINDS[kinds[0]]),
        nullable=NoneType in kinds,
        meaning=_meaning(name),
    )


def _meaning(name: str) -> str:
    for metric in METRICS:
        for ending, text in _OF_INTERVAL.items():
            if name == f"predicted_{metric}{ending}":
                return f"`{metric}`: {text}"
    return _MEANINGS[name]


COLUMNS_OF_EXPORT: Final = _columns(CellKey) + _columns(Figures)


def columns_table() -> str:
    """The columns as a table in Markdown, for the docs."""
    rows = [
        f"| `{c.name}` | {c.kind}{', or empty' if c.nullable else ''} | {c.meaning} |"
        for c in COLUMNS_OF_EXPORT
    ]
    return "\n".join(("| column | holds | meaning |", "|---|---|---|", *rows))
