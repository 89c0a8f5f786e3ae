"""Which models a run loads, on which engines: pytest's options, and the workloads that follow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.models import Workload, find_model, find_quantisation
from harness.runtimes import BEST, RUNTIMES, find_runtime
from harness.sources import DEFAULT_SOURCE, SOURCES, find_source
from harness.weights.real import refuse_unread

if TYPE_CHECKING:
    import pytest

    from harness.models import Architecture
    from harness.runtimes.base import Runtime

DEFAULT_MODEL = "gemma-2b"
DEFAULT_RUNTIME = "best"

# Which engines take the user's own files, by their names' ends; the first is the default.
OWN_FILES = {
    ".onnx": ("onnxruntime-web/wasm", "onnxruntime-web/webgpu"),
    ".gguf": ("wllama/wasm", "wllama/webgpu", "llama.cpp/native"),
}

LeftOut = tuple[tuple[str, str], ...]


def add_options(group: pytest.OptionGroup) -> None:
    """Add the options that name workloads."""
    add = group.addoption
    add("--model", action="append", metavar="ID", help=f"model (default: {DEFAULT_MODEL})")
    add(
        "--quant",
        action="append",
        metavar="NAME",
        help="how weights are stored: int4, int8, fp16, or an engine's own such as q4_k"
        " (default: the engine's own default)",
    )
    add(
        "--runtime",
        action="append",
        metavar="ID",
        help=f"inference engine and backend, `best` (the default: {', '.join(BEST)}) or `all`",
    )
    add("--artifact", type=Path, metavar="PATH", help="your own model file instead of a made one")
    add("--prompt-tokens", type=int, default=16, metavar="N", help="default: %(default)s")
    add("--output-tokens", type=int, default=8, metavar="N", help="default: %(default)s")
    add(
        "--source",
        action="append",
        metavar="NAME",
        help=f"where pages take the model's bytes from: {', '.join(SOURCES)}"
        f" (default: {DEFAULT_SOURCE})",
    )


def words_of(config: pytest.Config, option: str, default: str) -> list[str]:
    """The values of a repeatable option that also takes commas, each once."""
    given: list[str] = config.getoption(option) or [default]
    words = [word.strip() for item in given for word in item.split(",") if word.strip()]
    if not words:
        raise UserError(f"{option} names nothing", f"leave it out for {option}={default}")
    return list(dict.fromkeys(words))


def asked_runtimes(config: pytest.Config) -> tuple[list[Runtime], LeftOut]:
    """The engines to run, and those that are not installed.

    As with devices: one that is asked for by its name must be there.
    """
    names: list[str] = []
    found: list[Runtime] = []
    left_out: list[tuple[str, str]] = []
    own: Path | None = config.option.artifact
    if own:
        refuse_unread(own)
    takes = OWN_FILES[".gguf" if own and own.suffix == ".gguf" else ".onnx"]
    for word in words_of(config, "--runtime", takes[0] if own else DEFAULT_RUNTIME):
        group = {"best": list(BEST), "all": list(RUNTIMES)}.get(word)
        for name in group or [word]:
            runtime = find_runtime(name)
            if name in names:
                continue
            names.append(name)
            if own and name not in takes:
                if group:
                    continue
                raise UserError(
                    f"{name} does not take {own}", f"engines that do: {', '.join(takes)}"
                )
            if not (reason := runtime.missing()):
                found.append(runtime)
            elif group:
                left_out.append((name, reason))
            else:
                raise UserError(f"runtime {name!r} cannot be used: {reason}")
    if not found:
        lines = "\n".join(f"runtime {name!r} cannot be used: {why}" for name, why in left_out)
        raise UserError(lines)
    return found, tuple(left_out)


def asked_workloads(config: pytest.Config, runtimes: list[Runtime]) -> tuple[Workload, ...]:
    """Each model on each engine, as it was asked for."""
    models = [find_model(name) for name in words_of(config, "--model", DEFAULT_MODEL)]
    sources = [find_source(name).name for name in words_of(config, "--source", DEFAULT_SOURCE)]
    found = (
        Workload(
            model=model.id,
            quantisation=quantisation,
            runtime=runtime.id,
            prompt_tokens=config.option.prompt_tokens,
            output_tokens=config.option.output_tokens,
            # An engine outside of a browser reads the file where it lies.
            source=DEFAULT_SOURCE if runtime.backend == "native" else source,
        )
        for model in models
        for runtime in runtimes
        for quantisation in _quantisations(config, runtime, model)
        for source in sources
    )
    return tuple(dict.fromkeys(found))  # a model may be named twice, by its id and an alias


def _quantisations(config: pytest.Config, runtime: Runtime, model: Architecture) -> list[str]:
    """What the engine makes of the names that were asked for."""
    fitting = [name for name in runtime.quantisations if find_quantisation(name).fits(model)]
    names = words_of(config, "--quant", (fitting or runtime.quantisations)[0])
    return [runtime.exact_quantisation(model, find_quantisation(name).name) for name in names]
