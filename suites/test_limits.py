"""How much memory the browser and the engine give, and the exact words in which they refuse more.

Verdicts are read off these words (`harness.verdict`), and an engine's choices rest on these sizes:
a browser that answers differently must be noticed here and not in a trial. The texts are those of
Chromium 156 and onnxruntime-web 1.30.0; other engines of browsers have other words, so the suite is
about Chromium only, and only where nothing but the browser itself sets a limit.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psutil
import pytest

from suites.oversized import DATA, GRAPH, Oversized

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.laboratory import Laboratory
    from harness.profiles import Profile

GIB: Final = 1 << 30
MIB: Final = 1 << 20

FILE: Final = "file"
FILES: Final = "/artifacts/files/"


@dataclass(frozen=True, slots=True)
class Limit:
    """An attempt of the page `limits.html`, and what must come of it.

    Attributes:
        id: What is attempted, in words for people.
        attempt: The page's name for it.
        argument: What the page's attempt is given; of a file or a model it follows from those.
        gives: The answer, where it works.
        error: `Name: message`, where it does not; `...` stands for any text.
        file_bytes: Size of the file that is fetched.
        model: The model that a session is made from.
        memory: Bytes that the browser was seen to need, rounded up.
    """

    id: str
    attempt: str
    argument: Any = None
    gives: int | str | None = None
    error: str | None = None
    file_bytes: int | None = None
    model: Oversized | None = None
    memory: int = GIB

    def request(self) -> dict[str, Any]:
        """What the page is asked."""
        argument = self.argument
        if self.file_bytes is not None:
            argument = FILES + FILE
        elif self.model is not None:
            argument = {"graph": FILES + GRAPH, **(argument or {})}
            if self.model.external_bytes:
                argument["external"] = [{"path": DATA, "data": FILES + DATA}]
        return {"attempt": self.attempt, "argument": argument}

    def write(self, directory: Path) -> None:
        """Write its files, which are holes and take no disk."""
        if self.file_bytes is not None:
            with (directory / FILE).open("wb") as file:
                file.truncate(self.file_bytes)
        if self.model is not None:
            self.model.write(directory)

    def check(self, outcome: dict[str, Any]) -> None:
        """Compare what came of the attempt with what must."""
        if self.error is None:
            assert outcome == {"ok": self.gives}
            return
        assert "error" in outcome, f"worked, and gave {outcome['ok']}; expected: {self.error}"
        text = f"{outcome['error']['name']}: {outcome['error']['message']}".strip()
        pattern = ".*".join(re.escape(part) for part in self.error.split("..."))
        assert re.fullmatch(pattern, text, re.DOTALL), f"\n  {text}\n is not\n  {self.error}"


# Nothing here is touched, so it costs address space and no memory: all of it in one page.
CHEAP: Final = (
    Limit("ArrayBuffer of 8 GiB", "arrayBuffer", 1 << 33, gives=1 << 33),
    Limit(
        "ArrayBuffer of 16 GiB",
        "arrayBuffer",
        1 << 34,
        error="RangeError: Array buffer allocation failed",
    ),
    Limit(
        "ArrayBuffer of 32 GiB",
        "arrayBuffer",
        1 << 35,
        error="RangeError: Invalid array buffer length",
    ),
    Limit("WebAssembly memory of 4 GiB", "wasmMemory", {"initialPages": 65_536}, gives=4 * GIB),
    Limit(
        "WebAssembly memory of one page above 4 GiB",
        "wasmMemory",
        {"initialPages": 65_537},
        error="RangeError: WebAssembly.Memory(): Property 'initial': value 65537 is above the "
        "upper bound 65536",
    ),
    Limit(
        "WebAssembly memory grows to 4 GiB",
        "wasmGrow",
        {"initialPages": 1, "byPages": 65_535},
        gives=4 * GIB,
    ),
    Limit(
        "WebAssembly memory grows above its maximum",
        "wasmGrow",
        {"initialPages": 1, "maximumPages": 2, "byPages": 2},
        error="RangeError: WebAssembly.Memory.grow(): Maximum memory size exceeded",
    ),
    Limit(
        "WebAssembly memory grows above 4 GiB",
        "wasmGrow",
        {"initialPages": 1, "byPages": 65_536},
        error="RangeError: WebAssembly.Memory.grow(): Unable to grow instance memory",
    ),
    Limit(
        "memory64 of 16 GiB",
        "wasmMemory",
        {"wide": True, "initialPages": 262_144},
        gives=16 * GIB,
    ),
    Limit(
        "memory64 of one page above 16 GiB",
        "wasmMemory",
        {"wide": True, "initialPages": 262_145},
        error="RangeError: WebAssembly.Memory(): Property 'initial': value 262145 is above the "
        "upper bound 262144",
    ),
)

# Each of these may end the tab, or leaves gigabytes behind in it: a browser of its own for each.
LARGE: Final = (
    Limit(
        "fetch and arrayBuffer 2 MiB below 2 GiB",
        "fetchArrayBuffer",
        file_bytes=2 * GIB - 2 * MIB,
        gives=2 * GIB - 2 * MIB,
        memory=5 * GIB,
    ),
    Limit(
        "fetch and arrayBuffer 1 MiB below 2 GiB",
        "fetchArrayBuffer",
        file_bytes=2 * GIB - MIB,
        error="TypeError: Failed to fetch",
        memory=3 * GIB,
    ),
    Limit(
        "arrayBuffer of a blob 1 MiB below 2 GiB",
        "blobArrayBuffer",
        file_bytes=2 * GIB - MIB,
        error="NotReadableError: blob of 2146435072: The requested file could not be read, "
        "typically due to permission problems that have occurred after a reference to a file was "
        "acquired.",
        memory=3 * GIB,
    ),
    # The driver's pages are private ones; whether others keep larger blobs on disk is untried.
    Limit(
        "fetch and blob of 3 GiB",
        "fetchBlob",
        file_bytes=3 * GIB,
        error="TypeError: Failed to fetch",
        memory=3 * GIB,
    ),
    # The offset alone is enough: the engine never reads the data.
    Limit(
        "ONNX weights that begin 4 GiB into a data file",
        "onnxSession",
        model=Oversized(external_bytes=MIB, offset=4 * GIB),
        error="Error: Can't create a session. ERROR_CODE: 1, ERROR_MESSAGE: "
        "...SafeIntOnOverflow() Integer overflow",
    ),
    # What the rows of `FULL` share with this one must work, or they prove nothing.
    Limit(
        "ONNX weights of 1 MiB in the model and in a data file",
        "onnxSession",
        {"expand": 1024},
        model=Oversized(inline_bytes=MIB, external_bytes=MIB),
        gives="ran",
    ),
)

# Full sizes: up to 8 GiB of memory for up to 20 s each. The temporary of a run is 1 GiB or, like
# the largest table of a 2B model in float32, 2.1 GB.
GIB_OF_FLOATS: Final = GIB // 4
LARGE_TABLE: Final = 256_000 * 2048
FULL: Final = (
    Limit(
        "ONNX one data file of 3.66 GB",
        "onnxSession",
        {"expand": GIB_OF_FLOATS},
        model=Oversized(external_bytes=3_660_000_000),
        error="Error: created; run: failed to call OrtRun(). ERROR_CODE: 6, ERROR_MESSAGE: "
        "std::bad_alloc",
        memory=9 * GIB,
    ),
    # These two differ in nothing but the place of the weights: a heap never shrinks, and the copy
    # of the file that was parsed has cut it in pieces.
    Limit(
        "ONNX 1.64 GB in a data file",
        "onnxSession",
        {"expand": LARGE_TABLE},
        model=Oversized(external_bytes=1_640_000_000),
        gives="ran",
        memory=7 * GIB,
    ),
    Limit(
        "ONNX 1.64 GB inside the model",
        "onnxSession",
        {"expand": LARGE_TABLE},
        model=Oversized(inline_bytes=1_640_000_000),
        error="Error: created; run: failed to call OrtRun(). ERROR_CODE: 6, ERROR_MESSAGE: "
        "std::bad_alloc",
        memory=7 * GIB,
    ),
    Limit(
        "ONNX 2.144 GB inside the model",
        "onnxSession",
        model=Oversized(inline_bytes=2_144_000_000),
        error="Error: Can't create a session. ERROR_CODE: 6, ERROR_MESSAGE: std::bad_alloc",
        memory=8 * GIB,
    ),
    Limit(
        "ONNX model above 2 GiB",
        "onnxSession",
        model=Oversized(inline_bytes=2 * GIB),
        error="Error: Can't create a session. ERROR_CODE: 2, ERROR_MESSAGE: "
        "Model data size exceeds maximum supported size (2GB).",
        memory=5 * GIB,
    ),
    Limit(
        "ONNX one data file above 4 GiB",
        "onnxSession",
        model=Oversized(external_bytes=4_400_000_000),
        error="Error: Can't create a session. ERROR_CODE: 1, ERROR_MESSAGE: "
        "...SafeIntOnOverflow() Integer overflow",
        memory=7 * GIB,
    ),
    Limit(
        "ONNX weights above 4 GiB in all",
        "onnxSession",
        model=Oversized(external_bytes=GIB, shared=5),
        error="Error: Can't create a session. ERROR_CODE: 6, ERROR_MESSAGE: std::bad_alloc",
        memory=5 * GIB,
    ),
)

# SwiftShader's adapter promises 1 GiB and cannot keep it.
GPU: Final = (
    Limit("GPU buffer of 512 MiB", "gpuBuffer", GIB // 2, gives=GIB // 2),
    Limit(
        "GPU buffer of 1 GiB",
        "gpuBuffer",
        GIB,
        error="GPUOutOfMemoryError: vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY...",
    ),
    Limit(
        "GPU buffer above the maximum of the adapter",
        "gpuBuffer",
        GIB + 4,
        error="GPUValidationError: Buffer size (1073741828) exceeds the max buffer size limit "
        "(1073741824)...",
    ),
)

Answers = dict[str, dict[str, Any]]


def _chromium(profile: Profile) -> bool:
    limited = profile.limits.memory is not None or profile.limits.cpus is not None
    return profile.browser.engine == "chromium" and not limited


def _unchanged_chromium(profile: Profile) -> bool:
    # On a phone the memory for one app sets other limits, and Android's Chrome has others too.
    return profile.kind == "desktop" and _chromium(profile) and not profile.browser.args


def _software_gpu(profile: Profile) -> bool:
    return _chromium(profile) and "--use-webgpu-adapter=swiftshader" in profile.browser.args


def _ids(limits: Sequence[Limit]) -> list[Any]:
    return [pytest.param(limit, id=limit.id.replace(" ", "-")) for limit in limits]


def _ask(
    laboratory: Laboratory,
    profile: Profile,
    limits: Sequence[Limit],
    files: Path | None = None,
) -> Answers:
    """What came of each attempt, by id; all of them in one page of a fresh browser."""
    requests: list[Any] = [limit.request() for limit in limits]
    outcomes: Any = laboratory.ask(profile, "tierlabLimits", requests, within=180, files=files)
    return {limit.id: outcome for limit, outcome in zip(limits, outcomes, strict=True)}


@pytest.fixture(scope="session")
def answers(laboratory: Laboratory, profile: Profile) -> Answers:
    """What came of the cheap attempts."""
    return _ask(laboratory, profile, CHEAP)


@pytest.fixture(scope="session")
def gpu_answers(laboratory: Laboratory, profile: Profile) -> Answers:
    """What came of the attempts on the GPU."""
    return _ask(laboratory, profile, GPU)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Path]:
    """A directory that is removed at once: not everything that reads files knows holes."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.devices(where=_unchanged_chromium)
@pytest.mark.parametrize("limit", _ids(CHEAP))
def test_limits_of_the_browser(answers: Answers, limit: Limit) -> None:
    """Buffers and WebAssembly memories."""
    limit.check(answers[limit.id])


@pytest.mark.devices(where=_software_gpu)
@pytest.mark.parametrize("limit", _ids(GPU))
def test_limits_of_the_software_gpu(gpu_answers: Answers, limit: Limit) -> None:
    """Buffers of WebGPU, on the one adapter that every machine can have."""
    limit.check(gpu_answers[limit.id])


@pytest.mark.devices(where=_unchanged_chromium)
@pytest.mark.parametrize("limit", _ids(LARGE))
def test_limits_of_files(
    laboratory: Laboratory, profile: Profile, limit: Limit, files: Path
) -> None:
    """Files of gigabytes."""
    _check_with_files(laboratory, profile, limit, files)


@pytest.mark.full
@pytest.mark.devices(where=_unchanged_chromium)
@pytest.mark.parametrize("limit", _ids(FULL))
def test_limits_of_the_engine(
    laboratory: Laboratory, profile: Profile, limit: Limit, files: Path
) -> None:
    """Models of gigabytes."""
    _check_with_files(laboratory, profile, limit, files)


def _check_with_files(laboratory: Laboratory, profile: Profile, limit: Limit, files: Path) -> None:
    available = psutil.virtual_memory().available
    assert available >= limit.memory, (
        f"no statement about {profile.id}: {limit.memory >> 20} MiB of memory are needed, "
        f"{available >> 20} MiB are free on this machine"
    )
    limit.write(files)
    limit.check(_ask(laboratory, profile, [limit], files)[limit.id])
