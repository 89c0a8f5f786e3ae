"""The bases of all terms, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.models import MODELS
from harness.probe.recipe import EngineRecipe, Factors, Kernels, is_for
from harness.probe.terms import Speeds, bases, heap_need, kernels_of
from harness.runtimes import RUNTIMES
from results.observation import Quantity
from tests.harness.probe.samples import demand, engine, sample, second

if TYPE_CHECKING:
    from harness.probe.report import ProbeReport

WASM = second("chromium_wasm")
GPU = second("chromium_h200")
MODEL = MODELS["gemma-3-270m"]
ASKED = demand(quantisation="q8_0", prompt=100, output=20, file_bytes=290_000_000)
GPU_ASKED = replace(ASKED, threads=1)


def wasm_rate(kernel: str, threads: int = 2) -> float:
    """Seconds a unit of a kernel, throttling included."""
    wasm = WASM.backends.wasm
    assert wasm is not None
    assert wasm.available
    phase = wasm.phase(threads)
    found = phase.kernels[kernel]
    if found.op_us is not None:
        return found.op_us.median / 1e6 / phase.duty
    rate = found.bytes_per_s or found.flops_per_s
    assert rate is not None
    return 1 / rate.median / phase.duty


def shared(kernel: str) -> float:
    """Seconds a unit where all processors that a report speaks of share the work."""
    wasm = WASM.backends.wasm
    assert wasm is not None
    assert wasm.available
    one = wasm.phase(1)
    return wasm_rate(kernel, 1) * one.duty / max(it.threads * it.duty for it in wasm.phases)


def gpu_rate(kernel: str) -> float:
    webgpu = GPU.backends.webgpu
    assert webgpu is not None
    assert webgpu.available
    found = webgpu.kernels[kernel]
    if found.op_us is not None:
        return found.op_us.median / 1e6
    rate = found.bytes_per_s or found.flops_per_s
    assert rate is not None
    return 1 / rate.median


def base(quantity: Quantity, term: str, **changes: object) -> float | None:
    recipe = replace(engine("wllama/wasm", "q8_0"), **changes)  # type: ignore[arg-type]
    return bases(quantity, [term], Speeds.of(WASM, "wasm", 2), recipe, ASKED)[term]


def gpu_base(quantity: Quantity, term: str, **given: float) -> float | None:
    recipe = engine("wllama/webgpu", "q8_0", gpu=True)
    speeds = Speeds.of(GPU, "webgpu", 1)
    return bases(quantity, [term], speeds, recipe, GPU_ASKED, **given)[term]


BODY, HEAD = MODEL.body_parameters, MODEL.embedding_parameters
KV = 18 * 2 * 256


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("matrix.q8_0", (BODY + HEAD) * wasm_rate("dot_int8")),
        ("body.q8_0", BODY * wasm_rate("dot_int8")),
        ("head.q8_0", HEAD * wasm_rate("dot_int8")),
        ("small", 18 * 640 / 1024 * wasm_rate("small_ops")),
        ("vocabulary", 4 * wasm_rate("small_ops")),
        ("barrier", 18 * 6e-6),  # without the duty: a wait is not throttled by being one
        ("attention", KV * 4 * 110 * wasm_rate("attention")),
        ("fixed", 1e-3),
        ("fixed_cpu", 1e3 * wasm_rate("chain", 1)),
        ("fixed_cores", 1e3 * shared("chain")),
        ("serial", 1e3 * wasm_rate("chain")),
    ],
)
def test_decode(term: str, expected: float) -> None:
    assert base(Quantity.DECODE, term) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("product.q8_0", 100 * BODY * wasm_rate("dot_int8")),
        ("head.q8_0", HEAD * wasm_rate("dot_int8")),
        ("small", 100 * 18 * 640 / 1024 * wasm_rate("small_ops")),
        ("vocabulary", 4 * wasm_rate("small_ops")),
        ("barrier", 18 * 6e-6),
        ("attention", KV * 4 * 50 * 100 * wasm_rate("attention")),
        ("fixed", 1e-3),
    ],
)
def test_prefill(term: str, expected: float) -> None:
    assert base(Quantity.PREFILL, term) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("quantity", "term", "expected"),
    [
        (Quantity.LOAD, "bytes", 0.29),
        (Quantity.LOAD, "bytes_cpu", 0.29e6 * wasm_rate("chain", 1)),
        (Quantity.LOAD, "fixed", 1),
        (Quantity.LOAD, "fixed_cpu", 1e6 * wasm_rate("chain", 1)),
        (Quantity.LOAD, "bytes_cores", 0.29e6 * shared("chain")),
        (Quantity.LOAD, "fixed_cores", 1e6 * shared("chain")),
        (Quantity.MEMORY, "file", 290_000_000),
        (Quantity.MEMORY, "largest", 4 * HEAD),
        (Quantity.MEMORY, "kv", 2048 * KV * 2),
        (Quantity.MEMORY, "fixed", 1e9),
    ],
)
def test_load_and_memory(quantity: Quantity, term: str, expected: float) -> None:
    assert base(quantity, term) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("quantity", "term", "expected"),
    [
        (Quantity.DECODE, "matrix.q8_0", (BODY + HEAD) * gpu_rate("gemv_int8")),
        (Quantity.DECODE, "operations", (12 * 18 + 4) * gpu_rate("chain")),
        (Quantity.DECODE, "encode", (12 * 18 + 4) * gpu_rate("rebind_chain")),
        (Quantity.DECODE, "submit", gpu_rate("submit")),
        # Rows together: a prompt's operations take no longer than one token's.
        (Quantity.PREFILL, "operations", (12 * 18 + 4) * gpu_rate("chain")),
        (Quantity.PREFILL, "product.q8_0", 100 * 2 * BODY * gpu_rate("matmul")),
        # The mean of 23.5, 54.2, 47.0 and 12.6 ms, a hundred times.
        (Quantity.FIRST_TOKEN, "pipelines", 3.4334),
    ],
)
def test_webgpu(quantity: Quantity, term: str, expected: float) -> None:
    assert gpu_base(quantity, term) == pytest.approx(expected, rel=1e-4)


def test_what_was_not_measured_is_unknown() -> None:
    # This report has no WebAssembly side.
    assert gpu_base(Quantity.LOAD, "bytes_cpu") is None
    assert gpu_base(Quantity.FIRST_TOKEN, "prefill") is None
    assert gpu_base(Quantity.FIRST_TOKEN, "prefill", prefill_seconds=0.5) == 0.5
    old = Speeds.of(sample("chromium_wasm"), "wasm", 2)
    recipe = engine("wllama/wasm", "q8_0")
    found = bases(Quantity.DECODE, recipe.terms[Quantity.DECODE], old, recipe, ASKED)
    assert found["small"] is found["barrier"] is None
    assert found["matrix.q8_0"] is not None


def test_a_throttled_gpu_is_slower_by_its_duty() -> None:
    data = GPU.model_dump()
    data["backends"]["webgpu"]["duty"] = 0.25
    slow = Speeds.of(type(GPU).model_validate(data), "webgpu", 1)
    assert slow.seconds("gemv_int8") == pytest.approx(4 * gpu_rate("gemv_int8"))


def test_terms_of_other_quantisations_do_not_count() -> None:
    recipe = engine("wllama/wasm", "q8_0")
    found = bases(
        Quantity.DECODE,
        recipe.terms[Quantity.DECODE],
        Speeds.of(WASM, "wasm", 2),
        recipe,
        ASKED,
    )
    assert set(found) == {
        *("matrix.q8_0", "body.q8_0", "small", "barrier", "vocabulary"),
        *("serial", "fixed_cpu", "fixed_cores"),
    }
    assert is_for("small", "q4_k")
    assert not is_for("matrix.q4_0", "q4_k")


def test_nobody_waits_at_one_thread() -> None:
    recipe = engine("wllama/wasm", "q8_0")
    speeds = Speeds.of(WASM, "wasm", 1)
    assert bases(Quantity.DECODE, ["barrier"], speeds, recipe, ASKED) == {"barrier": 0.0}


def test_what_threads_do_not_share_is_as_on_one() -> None:
    recipe = engine("onnxruntime-web/wasm", "int4")
    asked = demand(quantisation="int4")
    two, one = (
        bases(Quantity.DECODE, ["alone.int4", "matrix.int4"], speeds, recipe, asked)
        for speeds in (Speeds.of(WASM, "wasm", 2), Speeds.of(WASM, "wasm", 1))
    )
    assert two["alone.int4"] == one["alone.int4"] == one["matrix.int4"] != two["matrix.int4"]


def test_a_prompt_is_padded_as_the_engine_does() -> None:
    recipe = engine("litert-lm/wasm", "int8")
    speeds = Speeds.of(WASM, "wasm", 1)
    short, full = (
        bases(
            Quantity.PREFILL,
            ["product.int8", "operations"],
            speeds,
            recipe,
            demand(quantisation="int8", prompt=prompt, threads=1),
        )
        for prompt in (3, 128)
    )
    assert short == full


def test_expansion_is_once_a_prompt() -> None:
    recipe = engine("onnxruntime-web/wasm", "int4")
    speeds = Speeds.of(WASM, "wasm", 2)
    for prompt in (1, 50):
        found = bases(Quantity.PREFILL, ["expand.int4"], speeds, recipe, demand(prompt=prompt))
        expected = BODY / 2 * wasm_rate("dequant_int4")
        assert found["expand.int4"] == pytest.approx(expected)


def test_the_address_space_holds_what_the_recipe_says() -> None:
    recipe = replace(
        engine("onnxruntime-web/wasm", "int4"), heap_file=2.0, heap_largest=0.5, context_tokens=0
    )
    asked = demand(prompt=10, output=5, file_bytes=1000)
    assert heap_need(recipe, asked) == pytest.approx(2000 + 2 * HEAD + 15 * KV * 4)


def test_a_prompt_needs_a_token() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        demand(prompt=0)


@pytest.mark.parametrize("quantity", list(Quantity))
def test_every_term_of_every_engine_is_known(quantity: Quantity) -> None:
    """No recipe names a term that there is not; with a report of all kernels each has a base."""
    for runtime in RUNTIMES.values():
        for name in runtime.quantisations:
            for gpu in (False, True):
                recipe = runtime.engine(name, gpu=gpu)
                report: ProbeReport = GPU if recipe.backend == "webgpu" else WASM
                asked = demand(quantisation=name)
                found = bases(
                    quantity,
                    recipe.terms.get(quantity, ()),
                    Speeds.of(report, recipe.backend, 2),
                    recipe,
                    asked,
                    prefill_seconds=1.0,
                )
                unknown = {term for term, value in found.items() if value is None}
                # The report of that GPU has no WebAssembly side.
                cpu = {"fixed_cpu", "bytes_cpu", "fixed_cores", "bytes_cores"}
                allowed = cpu if recipe.backend == "webgpu" else set()
                assert unknown <= allowed, (runtime.id, name)


def test_kernels_of_an_engine() -> None:
    assert kernels_of(engine("wllama/wasm", "q4_k"), "q4_k") == {
        "dot_q4_k",
        "small_ops",
        "barrier",
        "chain",
    }
    assert kernels_of(engine("llama.cpp/native", "q4_k"), "q4_k") == {"chain"}


def test_recipes_are_consistent() -> None:
    with pytest.raises(ValueError, match="has no terms"):
        EngineRecipe(
            key="e",
            name="e",
            backend="wasm",
            kernels={"int4": Kernels("a", "b", "c")},
            terms={Quantity.LOAD: ("bytes",)},
            defaults={Quantity.LOAD: Factors({"fixed": 1.0}, low=1, high=1)},
        )
    with pytest.raises(ValueError, match="does not hold"):
        Factors({}, low=2, high=1)
    with pytest.raises(ValueError, match="below 0: bytes"):
        Factors({"bytes": -1.0}, low=1, high=1)


@given(st.integers(1, 4096), st.integers(1, 4096), st.sampled_from(["wllama", "litert-lm"]))
def test_a_longer_prompt_is_never_less_work(a: int, b: int, name: str) -> None:
    short, long = sorted((a, b))
    recipe = engine(f"{name}/wasm", "q8_0" if name == "wllama" else "int8")
    quantisation = "q8_0" if name == "wllama" else "int8"
    speeds = Speeds.of(WASM, "wasm", 2)
    one, two = (
        bases(
            Quantity.PREFILL,
            recipe.terms[Quantity.PREFILL],
            speeds,
            recipe,
            demand(quantisation=quantisation, prompt=prompt),
        )
        for prompt in (short, long)
    )
    for term, value in one.items():
        other = two[term]
        assert value is not None
        assert other is not None
        assert value <= other
