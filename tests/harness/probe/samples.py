"""Real reports of the probe, and engines as runtimes describe them."""

from __future__ import annotations

from pathlib import Path

from harness.probe.report import ProbeReport, parse_report
from harness.runtimes.onnxruntime_web_cost import engine_cost

DATA = Path(__file__).parent / "data"


def sample(name: str) -> ProbeReport:
    return parse_report((DATA / f"{name}.json").read_bytes())


ORT_WEB_WASM = engine_cost("wasm", "int4", threads=2)
ORT_WEB_WEBGPU = engine_cost("webgpu", "int4")
