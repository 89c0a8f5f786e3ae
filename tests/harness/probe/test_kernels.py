"""The committed WebAssembly kernels against numpy, run by a real Chromium."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.harness.probe.page import PACKAGE, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Call = Callable[..., NDArray[Any]]

# Runs one kernel: `inputs` are placed in memory, `arguments` name them or are numbers. What the
# kernel leaves at "out" comes back; an input of that name is worked on in place.
CALL = """async ({ kernel, inputs, output, arguments: given }) => {
  const bytes = await (await fetch("/kernels.wasm")).arrayBuffer();
  const memory = new WebAssembly.Memory({ initial: 256 });
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory } });
  let at = 131072;
  const places = {};
  const place = (name, length) => { places[name] = at; at += Math.ceil(length / 64) * 64; };
  for (const [name, data] of Object.entries(inputs)) {
    place(name, data.length);
    new Uint8Array(memory.buffer).set(data, places[name]);
  }
  if (!("out" in places)) place("out", output);
  place("panel", 128 * 128 * 4);
  const value = instance.exports[kernel](...given.map((a) => places[a] ?? a));
  const out = Array.from(new Uint8Array(memory.buffer, places.out, output));
  return { value: value ?? null, out };
}"""


@pytest.fixture(scope="module")
def raw() -> Iterator[Callable[..., dict[str, Any]]]:
    with opened() as page:

        def call(
            kernel: str, output: int, arguments: list[str | float], **inputs: NDArray[Any]
        ) -> dict[str, Any]:
            data = {name: list(array.tobytes()) for name, array in inputs.items()}
            asked = {"kernel": kernel, "inputs": data, "output": output, "arguments": arguments}
            answer: dict[str, Any] = page.evaluate(CALL, asked)
            return answer

        yield call


@pytest.fixture
def call(raw: Callable[..., dict[str, Any]]) -> Call:
    """The kernel's output as fp32."""

    def run(*given: Any, **inputs: NDArray[Any]) -> NDArray[np.float32]:
        return np.frombuffer(bytes(raw(*given, **inputs)["out"]), np.float32)

    return run


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_module_exports_what_the_worker_calls() -> None:
    module = (PACKAGE / "kernels.wasm").read_bytes()
    called = set(re.findall(r"kernels\.(\w+)\b", (PACKAGE / "worker.js").read_text()))
    defined = set(re.findall(r"EXPORT\((\w+)\)", (PACKAGE / "kernels.c").read_text())) - {"name"}
    assert called == defined
    assert len(called) == 16
    assert all(name.encode() in module for name in called)
    assert len(module) < 24_576


@pytest.mark.integration
@pytest.mark.parametrize("depth", [32, 64, 96, 128])
def test_dequant_int4(call: Call, depth: int) -> None:
    columns = 5
    packed = random().integers(0, 256, (columns, depth // 2), np.uint8)
    scales = random(1).random((columns, depth // 32), np.float32)
    out = call(
        "dequant_int4", columns * depth * 4, ["out", "w", "s", columns, depth], w=packed, s=scales
    )
    values = (
        np.stack([packed & 15, packed >> 4], axis=-1).reshape(columns, depth).astype(np.int8) - 8
    )
    np.testing.assert_array_equal(
        out.reshape(columns, depth), values * np.repeat(scales, 32, axis=1)
    )


@pytest.mark.integration
def test_dequant_int8(call: Call) -> None:
    columns, depth = 3, 96
    weights = random().integers(0, 256, (columns, depth), np.uint8)
    scales = random(1).random((columns, depth // 32), np.float32)
    out = call(
        "dequant_int8", columns * depth * 4, ["out", "w", "s", columns, depth], w=weights, s=scales
    )
    expected = (weights.astype(np.int16) - 128) * np.repeat(scales, 32, axis=1)
    np.testing.assert_allclose(out.reshape(columns, depth), expected, rtol=1e-6)


@pytest.mark.integration
def test_cast_fp16(call: Call) -> None:
    bits = random().integers(0, 1 << 16, 256, np.uint16)
    out = call("cast_fp16", 256 * 4, ["out", "h", 256], h=bits)
    expected = ((bits & 0xBFFF) | 0x0400).view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("rows", "columns", "depth"),
    [(1, 16, 4), (1, 256, 200), (2, 144, 128), (5, 32, 300), (16, 64, 256)],
)
def test_gemm(call: Call, rows: int, columns: int, depth: int) -> None:
    x = random().standard_normal((rows, depth), np.float32)
    b = random(1).standard_normal((columns, depth), np.float32)
    out = call(
        "gemm", rows * columns * 4, ["out", "x", "b", "panel", rows, columns, depth], x=x, b=b
    )
    np.testing.assert_allclose(out.reshape(rows, columns), x @ b.T, rtol=1e-3, atol=1e-3)


def scale(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    bits = blocks[..., :2].copy().view(np.uint16)[..., 0]
    return ((bits & 0x03FF) | 0x2000).view(np.float16).astype(np.float32)


@pytest.mark.integration
@pytest.mark.parametrize("kernel", ["dot_int8", "dot_int4"])
def test_dot(call: Call, kernel: str) -> None:
    rows, blocks = 6, 4
    size = 34 if kernel == "dot_int8" else 18
    weights = random().integers(0, 256, (rows, blocks, size), np.uint8)
    x = random(1).integers(0, 256, (blocks, 34), np.uint8)
    out = call(kernel, rows * 4, ["out", "w", "x", rows, blocks], w=weights, x=x)
    payload = weights[..., 2:]
    if kernel == "dot_int8":
        values = payload.view(np.int8).astype(np.int32)
    else:
        values = np.concatenate([payload & 15, payload >> 4], axis=-1).astype(np.int32) - 8
    dots = (values * x[:, 2:].view(np.int8).astype(np.int32)).sum(axis=-1)
    expected = (dots * scale(weights) * scale(x)).sum(axis=-1)
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.integration
def test_dot_q4_k(call: Call) -> None:
    rows, blocks = 5, 3
    weights = random().integers(0, 256, (rows, blocks, 144), np.uint8)
    values = random(1).integers(-127, 128, (blocks, 256)).astype(np.int8)
    factors = random(2).random(blocks, np.float32)
    sums = values.reshape(blocks, 16, 16).sum(axis=-1).astype(np.int16)
    x = np.concatenate(
        [factors[:, None].view(np.uint8), values.view(np.uint8), sums.view(np.uint8)], axis=-1
    )
    out = call("dot_q4_k", rows * 4, ["out", "w", "x", rows, blocks], w=weights, x=x)

    packed = weights[..., 4:16].astype(np.int64)
    low, high = packed[..., :4], packed[..., 4:8]
    scales = np.concatenate([low & 63, packed[..., 8:] & 15 | (low >> 6) << 4], axis=-1)
    minima = np.concatenate([high & 63, packed[..., 8:] >> 4 | (high >> 6) << 4], axis=-1)
    nibbles = weights[..., 16:].reshape(rows, blocks, 4, 32)
    weight = np.stack([nibbles & 15, nibbles >> 4], axis=3).reshape(rows, blocks, 8, 32)
    real = (
        scale(weights[..., 0:2])[..., None, None] * scales[..., None] * weight
        - scale(weights[..., 2:4])[..., None, None] * minima[..., None]
    )
    expected = (real.reshape(rows, blocks, 256) * values * factors[:, None]).sum(axis=(1, 2))
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.integration
@pytest.mark.parametrize("bits", [8, 4])
def test_simd_products_of_four_rows(call: Call, bits: int) -> None:
    rows, depth = 8, 48
    limit = 1 << (bits - 1)
    weights = random().integers(-limit, limit, (rows, depth)).astype(np.int8)
    x = random(1).integers(-128, 128, depth).astype(np.int8)
    eights = weights.reshape(rows // 4, 4, depth // 8, 8).transpose(0, 2, 1, 3)
    packed = eights
    if bits == 4:
        low, high = eights[:, 0::2], eights[:, 1::2]
        packed = (low & 15) | (high << 4)
    packed = np.ascontiguousarray(packed)
    out = call(f"simd_int{bits}", rows * 4, ["out", "w", "x", rows, depth, 0.5], w=packed, x=x)
    np.testing.assert_allclose(out, 0.5 * (weights.astype(np.int64) @ x.astype(np.int64)))


@pytest.mark.integration
def test_attention_at_one_token(call: Call) -> None:
    tokens, width = 24, 32
    q = random().standard_normal(width, np.float32)
    keys = random(1).standard_normal((tokens, width), np.float32)
    values = random(2).standard_normal((tokens, width), np.float32)
    out = call(
        "attention", width * 4, ["out", "q", "k", "v", "panel", tokens, width],
        q=q, k=keys, v=values,
    )  # fmt: skip
    weight = np.exp(keys @ q / np.sqrt(width))
    np.testing.assert_allclose(out, weight / weight.sum() @ values, rtol=2e-3, atol=2e-3)


@pytest.mark.integration
def test_small_operations_of_a_layer(call: Call) -> None:
    n = 256
    work = random().random(14 * n, np.float32) + np.float32(0.5)
    out = call("small_ops", work.nbytes, ["out", n, 3], out=work)
    x, gains, gates = (
        part.astype(np.float64) for part in (work[:n], work[n : 2 * n], work[2 * n : 5 * n])
    )

    def norm(values: NDArray[Any]) -> NDArray[Any]:
        normed: NDArray[Any] = values / np.sqrt((values * values).mean() + 1e-6) * gains
        return normed

    for _ in range(3):
        first = norm(x)
        second = norm(first)
        x = 0.5 * (x + second)
    np.testing.assert_allclose(out[:n], x, rtol=1e-4)
    scores = np.exp(first[:256] - first[:256].max())
    np.testing.assert_allclose(out[6 * n : 6 * n + 256], scores / scores.sum(), rtol=5e-3)
    active = gates * gates / (1 + np.exp(-1.702 * gates))
    np.testing.assert_allclose(out[7 * n : 10 * n], active, rtol=5e-3)
    blocks = out[10 * n :].view(np.uint8)[: 3 * n // 32 * 34].reshape(-1, 34)
    rounded = blocks[:, 2:].view(np.int8).astype(np.float64)
    wide = out[7 * n : 10 * n].reshape(-1, 32).astype(np.float64)
    most = np.abs(wide).max(axis=1, keepdims=True)
    np.testing.assert_allclose(rounded, np.trunc(wide * 127 / most), atol=1)


@pytest.mark.integration
def test_copy(call: Call) -> None:
    data = random().integers(0, 256, 4096, np.uint8)
    out = call("copy", 4096, ["out", "d", 4096], d=data)
    np.testing.assert_array_equal(out.view(np.uint8), data)


@pytest.mark.integration
def test_stream_reads_everything(raw: Callable[..., dict[str, Any]]) -> None:
    data = random().integers(0, 1 << 32, 1024, np.uint32)
    total = raw("stream", 64, ["d", data.nbytes], d=data)["value"]
    assert total & 0xFFFFFFFF == int(data.sum(dtype=np.uint64)) & 0xFFFFFFFF


@pytest.mark.integration
def test_chain_is_dependent_and_stays_away_from_denormals(call: Call) -> None:
    n, rounds = 256, 40
    work = random().random(3 * n, np.float32) + np.float32(0.5)
    out = call("chain", work.nbytes, ["out", n, rounds], out=work)
    x, gain = work[:n].astype(np.float64), work[2 * n :].astype(np.float64)
    for _ in range(rounds):
        y = x / np.sqrt((x * x).mean() + 1e-6) * gain
        y = (1 + y) / (1 + np.abs(y))
        x = 0.5 * (x + y)
    np.testing.assert_allclose(out[:n], x, rtol=1e-4)
    assert np.abs(out[:n]).min() > 0.1


@pytest.mark.integration
def test_random_data_is_seeded_and_in_range(call: Call) -> None:
    first = call("fill_floats", 4096, ["out", 1024, 5, 0.25, 0.5])
    again = call("fill_floats", 4096, ["out", 1024, 5, 0.25, 0.5])
    other = call("fill_floats", 4096, ["out", 1024, 6, 0.25, 0.5])
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.min() >= 0.25
    assert first.max() < 0.5
    words = call("fill_words", 4096, ["out", 512, 5, 0xFFFFFFFF, 0]).view(np.uint64)
    assert len(np.unique(words)) == 512


@pytest.mark.integration
def test_random_bits_can_be_made_ordinary_floats(call: Call) -> None:
    made = call("fill_words", 4096, ["out", 512, 5, 0x807FFFFF, 0x3C000000])
    assert np.abs(made).min() >= 2**-7
    assert np.abs(made).max() < 2**-6
    assert 0.3 < (made < 0).mean() < 0.7
