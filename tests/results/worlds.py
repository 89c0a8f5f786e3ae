"""Worlds whose truth is known: devices, models and engines that behave by the terms they have."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from results.observation import Facts, Observation, Quantity
from results.record import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Device:
    name: str
    dot: float = 8e9
    operation: float = 4e-6
    stream: float = 2e10
    memory: float = 16e9
    cores: float = 2.0
    duty: float = 1.0
    # Measured times are so much longer than the kernels tell.
    bad: float = 1.0


@dataclass(frozen=True)
class Model:
    name: str
    parameters: float
    layers: int
    quantisation: str = "int4"

    @property
    def bits(self) -> int:
        return 8 if self.quantisation == "int8" else 4

    @property
    def decode_bytes(self) -> float:
        return self.parameters * self.bits / 8


@dataclass(frozen=True)
class Engine:
    recipe: str = "wllama/wasm"
    matrix: float = 1.5
    operations: float = 2.0
    product: float = 0.6
    copies: float = 1.2
    fixed_bytes: float = 0.4
    load: float = 1.1


DEVICES = tuple(
    Device(
        name=f"device-{cores:g}-{memory}g",
        dot=4e9 * cores,
        operation=(3e-6, 5e-6, 4e-6)[number % 3] / min(cores, 1),
        stream=(2e10, 1e10, 1.5e10)[number % 3],
        memory=memory * 1e9,
        cores=cores,
        duty=min(1.0, cores),
    )
    for number, (cores, memory) in enumerate(
        [(0.5, 4), (0.5, 12), (1, 2.5), (1, 4), (1, 12), (2, 1.5), (2, 3), (2, 6), (2, 12), (4, 12)]
    )
)
MODELS = (
    Model("tiny", 2.7e8, 18),
    Model("small", 5e8, 24, "int8"),
    Model("middle", 1e9, 26),
    Model("large", 1.5e9, 28, "int8"),
    Model("huge", 2.5e9, 18),
)
ENGINES = (Engine(), Engine("litert-lm/webgpu", 0.8, 5.0, 0.3, 0.9, 0.6, 0.7))


@dataclass
class World:
    """Trials of every device, model and engine, `repeats` times, with noise of that size."""

    devices: tuple[Device, ...] = DEVICES
    models: tuple[Model, ...] = MODELS
    engines: tuple[Engine, ...] = ENGINES
    noise: float = 0.04
    repeats: int = 2
    seed: int = 1
    changes: Mapping[str, object] = field(default_factory=dict)

    def observations(self) -> list[Observation]:
        chance = random.Random(self.seed)  # noqa: S311 - repeatable
        found = []
        for repeat in range(self.repeats):
            for engine in self.engines:
                for device in self.devices:
                    for model in self.models:
                        one = self.observe(chance, engine, device, model, repeat)
                        found.append(replace(one, **self.changes))  # type: ignore[arg-type]
        return found

    def observe(
        self, chance: random.Random, engine: Engine, device: Device, model: Model, repeat: int
    ) -> Observation:
        terms = bases(device, model)
        truth = {
            Quantity.DECODE: {
                f"matrix.{model.quantisation}": engine.matrix,
                "operations": engine.operations,
            },
            Quantity.PREFILL: {
                f"product.{model.quantisation}": engine.product,
                "operations": engine.operations,
            },
            Quantity.LOAD: {"bytes": engine.load, "fixed": 0.5},
            Quantity.FIRST_TOKEN: {"prefill": 1.0, "fixed": 0.3},
            Quantity.MEMORY: {"file": engine.copies, "fixed": engine.fixed_bytes},
        }
        measured: dict[Quantity, float] = {}
        for quantity, factors in truth.items():
            here = dict(terms[quantity])
            if quantity is Quantity.FIRST_TOKEN:
                here["prefill"] = measured[Quantity.PREFILL]
            slow = 1.0 if quantity is Quantity.MEMORY else device.bad
            measured[quantity] = (
                slow
                * math.exp(chance.gauss(0, self.noise))
                * sum(factor * here[term] for term, factor in factors.items())
            )
        verdict = Verdict.OK
        if measured[Quantity.MEMORY] > device.memory:
            verdict, measured = Verdict.OOM, {}
        return Observation(
            trial_id=f"{engine.recipe} {device.name} {model.name} {repeat}",
            device=device.name,
            host="machine",
            recipe=engine.recipe,
            runtime=engine.recipe,
            model=model.name,
            quantisation=model.quantisation,
            threads=1,
            prompt_tokens=32,
            output_tokens=16,
            file_bytes=int(model.decode_bytes),
            decode_bytes=int(model.decode_bytes),
            memory_limit_bytes=int(device.memory),
            too_much=None,
            heap_bytes=None,
            verdict=verdict,
            terms=terms,
            measured=measured,
            facts=Facts(
                hardware_concurrency=8,
                device_memory_gib=8.0,
                stream_bytes_per_s=device.stream,
                multiply_flops_per_s=device.dot * 2,
                duty=device.duty,
                max_buffer_bytes=1 << 31,
                max_binding_bytes=1 << 30,
            ),
            probe_seconds=1.2,
            load_bytes=int(model.decode_bytes),
            vector={
                "dot": math.log2(device.dot),
                "chain": -math.log2(device.operation),
                "stream": math.log2(device.stream),
            },
            day=f"2026-01-{repeat + 1:02}",
            processor="Some Processor",
            browser="chromium 156",
            adapter="vendor architecture",
            cores=device.cores,
        )


def bases(device: Device, model: Model, prompt: int = 32) -> dict[Quantity, dict[str, float]]:
    dot = 1 / (device.dot * device.duty)
    step = model.layers * 20 * device.operation / device.duty
    return {
        Quantity.DECODE: {
            f"matrix.{model.quantisation}": model.decode_bytes * dot,
            "operations": step,
            "vocabulary": 4 * device.operation / device.duty,
            "barrier": 0.0,
            "fixed": 1e-3,
        },
        Quantity.PREFILL: {
            f"product.{model.quantisation}": prompt * model.decode_bytes * dot,
            "operations": prompt * step,
            "fixed": 1e-3,
        },
        Quantity.LOAD: {"bytes": model.decode_bytes * 1e-9, "fixed": 1.0},
        Quantity.FIRST_TOKEN: {"prefill": prompt * model.decode_bytes * dot, "fixed": 1.0},
        Quantity.MEMORY: {
            "file": model.decode_bytes,
            "largest": 4e8,
            "kv": 1e6 * model.layers,
            "fixed": 1e9,
        },
    }
