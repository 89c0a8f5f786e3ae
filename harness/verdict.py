"""From evidence to verdict: a pure function over a table of rules.

The rules are tried in order and the first that holds decides, so the order is part of their
meaning: the kernel's own word on a memory kill comes before everything that the death looked like
from elsewhere, because a killed renderer looks the same whoever killed it (see `RULES`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence  # noqa: TC003 - used in the dataclass below
from dataclasses import dataclass
from typing import Final

from harness.case import (
    SIGBUS,
    SIGHUP,
    SIGINT,
    SIGKILL,
    SIGSEGV,
    SIGTERM,
    STATUS_UNSEEN,
    Case,
    says_memory,
)
from results.record import Evidence, Kind, Verdict

# What somebody else sends to end a process; a process does not do so to itself.
_SENT = frozenset({SIGHUP, SIGINT, SIGKILL, SIGTERM})

# Page errors that mean "no memory", by engine and browser. The page itself survives them.
_OUT_OF_MEMORY = re.compile(
    r"std::bad_alloc"
    r"|Array buffer allocation failed"
    r"|Invalid array buffer length"
    r"|WebAssembly\.Memory\(\): could not allocate memory"
    r"|grow\(\): (Unable to grow instance memory|Maximum memory size exceeded)"
    r"|GPUOutOfMemoryError|VK_ERROR_OUT_OF_DEVICE_MEMORY"
    r"|\bout of memory\b|Out of memory"
    r"|insufficient memory|failed to allocate buffer"
    r"|^MemoryError\b",
)

# Page errors that mean that the file is not what the engine takes: about the file, whoever made it,
# and not about the device.
_NOT_THE_FILE = re.compile(
    r"Tensor size does not match"
    r"|data is not within the file bounds"
    r"|invalid split file|missing split|tensor '[^']*' not found|missing tensor"
    r"|not found in the model"
    r"|invalid magic|unsupported GGUF version",
    re.IGNORECASE,
)

# Page errors that mean "not possible here", whatever the free memory: limits of browser or engine.
_NOT_POSSIBLE = re.compile(
    r"Could not find an implementation for"
    r"|exceeds the max buffer size limit"
    r"|requires f16 but the device does not support it"
    r"|Model data size exceeds maximum supported size"
    r"|SafeIntOnOverflow"
    r"|no available backend found"
    r"|WebGPU is not supported|Failed to get GPU adapter|no WebGPU adapter"
    r"|above the upper bound"
    r"|QuotaExceededError|the page has no (Cache API|origin private file system)",
)

# Page errors of a source of bytes that the lab itself provides: its server, and the files it picks.
_THE_LABS: Final = re.compile(
    r"cannot be fetched: |: HTTP \d{3}$|was not picked$|bytes, \d+ were expected$"
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict with its cause (a stable short name) and one sentence that explains it."""

    verdict: Verdict
    cause: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Rule:
    """If `when` holds, the verdict is `verdict`, for the reason that `because` words."""

    cause: str
    verdict: Verdict
    when: Callable[[Case], object]
    because: Callable[[Case], str]


def _killers_words(case: Case) -> str:
    """What the system said of a memory kill, each source once: the word that decided first."""
    kill = case.memory_kill
    said = [kill] if kill else []
    said += case.of_the_dead(Kind.LMK_KILL, Kind.EXIT_RECORD)
    words: dict[str, str] = {}
    for item in said:
        reason = " ".join(filter(None, (item.text("reason"), item.text("subreason"))))
        if item.kind is Kind.LMK_KILL:
            words.setdefault(item.text("killer") or "lmkd", reason or item.text("line"))
        elif says_memory(item) or item is kill:
            words.setdefault("exit-info", reason)
    if (status := case.renderer("status")) and (code := case.renderer("code")):
        words["CDP"] = f"{status}, {code}"
    return "; ".join(f"{source}: {text}" for source, text in words.items())


def _asked(case: Case) -> str:
    item = case.asked_for
    if item is None:
        return ""
    return " ".join(filter(None, (item.text("reason"), item.text("description"))))


def _no_memory_kill(case: Case) -> str:
    if case.on_a_phone:
        return "neither lmkd nor exit-info speaks of memory"
    return "the kernel counted no memory kill"


def _tokens(case: Case) -> int:
    try:
        return int(case.value(Kind.DONE, "tokens"))
    except ValueError:
        return 0


RULES: Final[tuple[Rule, ...]] = (
    # --- not about this device -------------------------------------------------------------
    Rule(
        "earlier-failure", Verdict.CASCADE,
        lambda c: c.has(Kind.EARLIER_FAILURE),
        lambda c: f"caused by an earlier failure: {c.value(Kind.EARLIER_FAILURE, 'of')}",
    ),
    Rule(
        "lease-lost", Verdict.INFRA,
        lambda c: c.has(Kind.LEASE_LOST),
        lambda c: f"the device was not this run's alone: {c.value(Kind.LEASE_LOST, 'message')}",
    ),
    Rule(
        "rebooted", Verdict.INFRA,
        lambda c: c.has(Kind.REBOOTED) and not c.memory_kill,
        lambda c: f"the phone restarted during {c.phase}: {c.value(Kind.REBOOTED, 'line')}",
    ),
    Rule(
        "transport-lost", Verdict.INFRA,
        lambda c: c.has(Kind.TRANSPORT_LOST) and not c.memory_kill,
        lambda c: (
            f"the phone was gone during {c.phase}: {c.value(Kind.TRANSPORT_LOST, 'message')}"
        ),
    ),
    # --- killed for memory by a phone's system: a death, and the system's word about it ---------
    Rule(
        "low-memory-killer", Verdict.OOM,
        lambda c: c.memory_kill and not c.has(Kind.DONE),
        lambda c: f"the phone's system killed {c.victim} for memory during {c.phase}"
        f" ({_killers_words(c)})",
    ),
    # --- killed for memory: the kernel's counter decides before any symptom -------------------
    Rule(
        "kernel-oom", Verdict.OOM,
        lambda c: c.has(Kind.OOM_KILL) and not c.has(Kind.DONE),
        lambda c: (
            f"the kernel killed {c.victim} for memory during {c.phase}"
            f" ({c.value(Kind.OOM_KILL, 'counter') or 'oom_kill'} rose)"
        ),
    ),
    Rule(
        "v8-heap", Verdict.OOM,
        lambda c: c.has(Kind.V8_OOM) and c.died,
        lambda c: f"V8 reached its heap limit during {c.phase}: {c.value(Kind.V8_OOM, 'line')}",
    ),
    Rule(
        "allocator", Verdict.OOM,
        lambda c: c.has(Kind.OUT_OF_MEMORY_LINE) and c.died,
        lambda c: (
            f"the allocator gave up during {c.phase}:"
            f" {c.value(Kind.OUT_OF_MEMORY_LINE, 'line')}"
        ),
    ),
    Rule(
        "browser-oom", Verdict.OOM,
        lambda c: c.renderer("status") == "oom",
        lambda c: f"the browser reported that the renderer ran out of memory during {c.phase}",
    ),
    Rule(
        "allocation-refused", Verdict.OOM,
        lambda c: _OUT_OF_MEMORY.search(c.error) or _OUT_OF_MEMORY.search(c.rejected),
        lambda c: (
            f"memory was refused during {c.phase}, and nothing died: {c.error or c.rejected}"
        ),
    ),
    # --- ended by somebody-------------------------------------------------------------------
    Rule(
        "asked-for", Verdict.INFRA,
        lambda c: c.asked_for,
        lambda c: (
            f"somebody ended {c.victim} during {c.phase}: {_asked(c)}; it was not the device"
        ),
    ),
    # --- died of something else ---------------------------------------------------------------
    Rule(
        "segfault", Verdict.CRASH,
        lambda c: c.signal in {SIGSEGV, SIGBUS},
        lambda c: f"{c.victim} crashed during {c.phase} ({c.how_it_ended})",
    ),
    Rule(
        "killed", Verdict.CRASH,
        lambda c: (
            c.renderer("status") == "killed" or c.child_signal in _SENT or c.system_signal in _SENT
        ),
        lambda c: (
            f"something other than the kernel's memory killer ended {c.victim} during {c.phase}"
            f" ({c.how_it_ended}, and {_no_memory_kill(c)})"
        ),
    ),
    Rule(
        "unexplained", Verdict.CRASH,
        lambda c: c.renderer("status") in STATUS_UNSEEN and c.signal is None,
        lambda c: (
            f"{c.victim} went away during {c.phase}, and the phone does not say why"
            f" ({c.how_it_ended}): a kill for memory is possible, and not shown"
        ),
    ),
    Rule(
        "trap", Verdict.CRASH,
        lambda c: c.has(Kind.RENDERER_GONE) or c.child_signal is not None,
        lambda c: (
            f"{c.victim} ended itself during {c.phase} ({c.how_it_ended}):"
            " a failed CHECK, or memory refused without a message"
        ),
    ),
    Rule(
        "browser-gone", Verdict.CRASH,
        lambda c: c.has(Kind.BROWSER_GONE),
        lambda c: f"the browser itself went away during {c.phase}; {_no_memory_kill(c)}",
    ),
    Rule(
        "gpu-lost", Verdict.CRASH,
        lambda c: c.has(Kind.DEVICE_LOST),
        lambda c: (
            f"the GPU device was lost during {c.phase}, without a memory kill:"
            f" {c.value(Kind.GPU_PROCESS_GONE, 'line') or c.value(Kind.DEVICE_LOST, 'message')}"
        ),
    ),
    # --- alive, but no result -------------------------------------------------------------------
    Rule(
        "not-possible", Verdict.UNSUPPORTED,
        lambda c: c.has(Kind.UNSUPPORTED),
        lambda c: c.value(Kind.UNSUPPORTED, "reason"),
    ),
    Rule(
        "cpu-fallback", Verdict.UNSUPPORTED,
        lambda c: c.has(Kind.CPU_FALLBACK),
        lambda c: (
            "the engine ran on the CPU instead of the GPU, without saying so:"
            f" {c.value(Kind.CPU_FALLBACK, 'message')}"
        ),
    ),
    Rule(
        "artifact", Verdict.INFRA,
        lambda c: c.has(Kind.ARTIFACT_REFUSED) or _NOT_THE_FILE.search(c.error),
        lambda c: (
            f"the model file is not what the engine takes (met during {c.phase}):"
            f" {c.value(Kind.ARTIFACT_REFUSED, 'message') or c.error}"
        ),
    ),
    Rule(
        "limit", Verdict.UNSUPPORTED,
        lambda c: _NOT_POSSIBLE.search(c.error) or _NOT_POSSIBLE.search(c.rejected),
        lambda c: (
            f"a limit of the browser or the engine, met during {c.phase}: {c.error or c.rejected}"
        ),
    ),
    Rule(
        "lab", Verdict.INFRA,
        lambda c: c.has(Kind.LAB_ERROR) or _THE_LABS.search(c.error),
        lambda c: (
            f"the lab failed during {c.phase}: {c.value(Kind.LAB_ERROR, 'message') or c.error}"
        ),
    ),
    Rule(
        "engine-error", Verdict.CRASH,
        lambda c: c.has(Kind.ENGINE_ERROR, Kind.CHILD_GONE),
        lambda c: (
            f"the engine failed during {c.phase}: {c.error}" if c.error
            else f"the engine's process ended during {c.phase} ({c.how_it_ended})"
        ),
    ),
    Rule(
        "validation", Verdict.CRASH,
        lambda c: c.has(Kind.VALIDATION) and c.has(Kind.DONE, Kind.DEADLINE),
        lambda c: (
            f"tokens came out, but the GPU rejected commands, so they mean nothing: {c.rejected}"
            if c.has(Kind.DONE)
            else f"nothing came out of {c.phase} after the GPU had rejected commands: {c.rejected}"
        ),
    ),
    Rule(
        "deadline", Verdict.HANG,
        lambda c: c.has(Kind.DEADLINE),
        lambda c: (
            f"nothing came out of {c.value(Kind.DEADLINE, 'phase')}"
            f" for {c.value(Kind.DEADLINE, 'seconds')} s"
        ),
    ),
    # --- finished: good only with tokens and finite numbers -----------------------------------
    Rule(
        "not-finite", Verdict.CRASH,
        lambda c: c.has(Kind.DONE) and c.value(Kind.DONE, "finite") == "False",
        lambda _: "tokens came out, but the logits are not finite numbers",
    ),
    Rule(
        "tokens", Verdict.OK,
        lambda c: c.has(Kind.DONE) and _tokens(c) > 0,
        lambda c: f"{_tokens(c)} tokens came out",
    ),
    Rule(
        "no-tokens", Verdict.CRASH,
        lambda c: c.has(Kind.DONE),
        lambda _: "the load finished without a single token",
    ),
)  # fmt: skip


def judge(evidence: Sequence[Evidence]) -> Judged:
    """The verdict that the evidence supports; `infra` when it supports none."""
    case = Case(evidence)
    for rule in RULES:
        if rule.when(case):
            return Judged(rule.verdict, rule.cause, rule.because(case))
    return Judged(
        Verdict.INFRA, "no-evidence", f"the load ended during {case.phase} without any evidence"
    )
