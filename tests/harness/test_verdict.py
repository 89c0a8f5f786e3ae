from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.verdict import RULES, judge
from results.record import Evidence, Kind, Source, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

Story = tuple[tuple[Kind, dict[str, Any]], ...]


def told(*story: tuple[Kind, dict[str, Any]]) -> list[Evidence]:
    """Evidence in that order, a tenth of a second apart."""
    return [
        Evidence(at_seconds=n / 10, source=Source.HARNESS, kind=kind, detail=detail)
        for n, (kind, detail) in enumerate(story)
    ]


DONE = (Kind.DONE, {"tokens": 3, "finite": True})
CREATE = (Kind.PHASE, {"name": "create"})
# As it arrives: the driver's report without a status, then that of CDP.
CRASH: tuple[Kind, dict[str, Any]] = (Kind.RENDERER_GONE, {})
KILLED = (CRASH, (Kind.RENDERER_GONE, {"status": "killed", "code": 9}))
OOM_KILL = (Kind.OOM_KILL, {"kills": 1, "counter": "cgroup-v1 oom_kill"})
REFUSED = (Kind.ENGINE_ERROR, {"name": "RangeError", "message": "Array buffer allocation failed"})

# Chrome for Android cannot see how a renderer ended: every death in the foreground reads like this.
UNSEEN: tuple[Kind, dict[str, Any]] = (
    Kind.RENDERER_GONE,
    {"status": "oom protected", "code": 0},
)
LMKD = (
    Kind.LMK_KILL,
    {"process": "renderer", "reason": "device is low on swap", "line": "I lowmemorykiller: Kill"},
)
LOST = (Kind.TRANSPORT_LOST, {"message": "the connection to the phone is gone"})


def exit_record(process: str, reason: str, **more: Any) -> tuple[Kind, dict[str, Any]]:
    return Kind.EXIT_RECORD, {"process": process, "reason": reason, **more}


# A timeline for each rule, by the rule's cause.
STORIES: dict[str, Story] = {
    "earlier-failure": ((Kind.EARLIER_FAILURE, {"of": "the browser"}), *KILLED, OOM_KILL),
    "lease-lost": (CREATE, (Kind.LEASE_LOST, {"message": "another has it"}), OOM_KILL, *KILLED),
    "rebooted": (CREATE, LOST, (Kind.REBOOTED, {"line": "another boot"})),
    "transport-lost": (CREATE, CRASH, LOST),
    "low-memory-killer": (CREATE, LMKD, UNSEEN),
    "kernel-oom": (CREATE, OOM_KILL, *KILLED),
    "v8-heap": (CREATE, (Kind.V8_OOM, {"line": "V8 javascript OOM"}), CRASH),
    "allocator": (CREATE, (Kind.OUT_OF_MEMORY_LINE, {"line": "Out of memory."}), CRASH),
    "browser-oom": (CREATE, CRASH, (Kind.RENDERER_GONE, {"status": "oom", "code": 0})),
    "allocation-refused": (CREATE, REFUSED),
    "asked-for": (CREATE, (Kind.BROWSER_GONE, {}), exit_record("browser", "USER_REQUESTED")),
    "segfault": (CREATE, CRASH, (Kind.RENDERER_GONE, {"status": "crashed", "code": 11})),
    "killed": (CREATE, *KILLED),
    "unexplained": (CREATE, UNSEEN),
    "trap": (CREATE, CRASH, (Kind.RENDERER_GONE, {"status": "crashed", "code": 5})),
    "browser-gone": (CREATE, (Kind.BROWSER_GONE, {})),
    "gpu-lost": (CREATE, (Kind.GPU_PROCESS_GONE, {"line": "exit_code=9"}), (Kind.DEVICE_LOST, {})),
    "not-possible": ((Kind.UNSUPPORTED, {"reason": "no WebGPU adapter"}),),
    "cpu-fallback": (CREATE, (Kind.CPU_FALLBACK, {"message": "0 bytes in GPU buffers"})),
    "artifact": (
        CREATE,
        (Kind.ENGINE_ERROR, {"name": "Error", "message": "Tensor size does not match: a"}),
    ),
    "limit": (
        CREATE,
        (Kind.ENGINE_ERROR, {"name": "Error", "message": "no available backend found. ERR: x"}),
    ),
    "lab": (CREATE, (Kind.LAB_ERROR, {"message": "the trial page was closed"})),
    "engine-error": (CREATE, (Kind.ENGINE_ERROR, {"name": "TypeError", "message": "x"})),
    "deadline": (CREATE, (Kind.DEADLINE, {"phase": "create", "seconds": 300.0})),
    "validation": ((Kind.VALIDATION, {"message": "usage"}), DONE),
    "not-finite": ((Kind.DONE, {"tokens": 3, "finite": False}),),
    "tokens": (CREATE, DONE),
    "no-tokens": ((Kind.DONE, {"tokens": 0, "finite": True}),),
}


def test_every_rule_has_a_story_and_a_name_of_its_own() -> None:
    causes = [rule.cause for rule in RULES]
    assert len(set(causes)) == len(causes)
    assert set(STORIES) == set(causes)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.cause)
def test_its_story_reaches_the_rule(rule: Any) -> None:
    judged = judge(told(*STORIES[rule.cause]))
    assert (judged.cause, judged.verdict) == (rule.cause, rule.verdict)
    assert len(judged.explanation) > 5


CHILD = "the engine's process"


@pytest.mark.parametrize(
    ("end", "cause", "words"),
    [
        ({"signal": 9, "line": ""}, "killed", "ended the engine's process during create (signal 9"),
        ({"signal": 15, "line": ""}, "killed", "the kernel counted no memory kill"),
        ({"signal": 11, "line": "Fatal"}, "segfault", "crashed during create (signal 11: Fatal)"),
        ({"signal": 7, "line": ""}, "segfault", CHILD),
        ({"signal": 6, "line": "GGML_ASSERT(x) failed"}, "trap", "GGML_ASSERT(x) failed"),
        ({"exit_code": 1, "line": "No module"}, "engine-error", "(exit code 1: No module)"),
        ({"exit_code": 0, "line": ""}, "engine-error", "ended during create (exit code 0)"),
        ({}, "engine-error", CHILD),
        ({"signal": "many"}, "engine-error", CHILD),
    ],
)
def test_the_end_of_an_engines_process(end: dict[str, Any], cause: str, words: str) -> None:
    judged = judge(told(CREATE, (Kind.CHILD_GONE, end)))
    assert (judged.verdict, judged.cause) == (Verdict.CRASH, cause)
    assert words in judged.explanation


def test_a_process_whose_memory_ran_out() -> None:
    gone = (Kind.CHILD_GONE, {"signal": 9, "line": ""})
    for story in ((OOM_KILL, gone), (gone, OOM_KILL)):
        judged = judge(told(CREATE, *story))
        assert judged.cause == "kernel-oom"
        assert f"killed {CHILD} for memory during create" in judged.explanation
    thrown = (Kind.OUT_OF_MEMORY_LINE, {"line": "terminate called after ... 'std::bad_alloc'"})
    aborted = (Kind.CHILD_GONE, {"signal": 6, "line": ""})
    assert judge(told(CREATE, thrown, aborted)).cause == "allocator"
    refused = (Kind.ENGINE_ERROR, {"name": "MemoryError", "message": ""})
    assert judge(told(CREATE, refused)).cause == "allocation-refused"


def test_nothing_at_all_is_the_labs_fault() -> None:
    assert judge([]).verdict is Verdict.INFRA
    judged = judge(told(CREATE))
    assert (judged.verdict, judged.cause) == (Verdict.INFRA, "no-evidence")
    assert "create" in judged.explanation


@pytest.mark.parametrize(
    "symptom",
    [
        KILLED,
        ((Kind.DEVICE_LOST, {"message": "lost"}),),
        ((Kind.BROWSER_GONE, {}),),
        ((Kind.DEADLINE, {"phase": "create", "seconds": 2}),),
        (REFUSED,),
        ((Kind.LAB_ERROR, {"message": "evaluate: Target crashed"}),),
        ((Kind.V8_OOM, {"line": "V8 javascript OOM"}), *KILLED),
    ],
)
def test_the_kernels_word_comes_before_every_symptom(symptom: Story) -> None:
    for story in ((OOM_KILL, *symptom), (*symptom, OOM_KILL)):
        assert judge(told(*story)).cause == "kernel-oom"


@pytest.mark.parametrize(
    ("story", "victim"),
    [
        ((OOM_KILL, *KILLED), "the renderer"),
        ((OOM_KILL, (Kind.DEVICE_LOST, {})), "the GPU process"),
        ((OOM_KILL, (Kind.BROWSER_GONE, {})), "the browser"),
        ((OOM_KILL, (Kind.PROCESS_EXIT, {"process": "renderer"})), "the renderer"),
        (
            # A navigation replaced a renderer at the start: it is not the one that was killed.
            (
                (Kind.PROCESS_EXIT, {"process": "renderer"}),
                OOM_KILL,
                (Kind.PROCESS_EXIT, {"process": "gpu"}),
            ),
            "the GPU process",
        ),
        ((OOM_KILL,), "a browser process"),
    ],
)
def test_the_explanation_names_the_victim_and_the_phase(story: Story, victim: str) -> None:
    explanation = judge(told(CREATE, *story)).explanation
    assert f"killed {victim} for memory during create" in explanation


def test_a_status_counts_whenever_it_arrives() -> None:
    early = judge(told(KILLED[1], CRASH))
    late = judge(told(CRASH, CRASH, KILLED[1]))
    assert early.cause == late.cause == "killed"
    assert "signal 9" in late.explanation


def test_a_kill_for_memory_that_the_load_survived_does_not_count() -> None:
    assert judge(told(OOM_KILL, DONE)).verdict is Verdict.OK


@pytest.mark.parametrize("late", [*KILLED, OOM_KILL, REFUSED, (Kind.VALIDATION, {"message": "x"})])
def test_what_happens_after_the_tokens_is_ignored(late: tuple[Kind, dict[str, Any]]) -> None:
    assert judge(told(DONE, late)).verdict is Verdict.OK


def test_the_order_of_arrival_is_by_time_not_by_place() -> None:
    items = told(DONE, *KILLED)
    assert judge(items[::-1]).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("message", "verdict"),
    [
        ("failed to call OrtRun(). ERROR_CODE: 6, ERROR_MESSAGE: std::bad_alloc", Verdict.OOM),
        ("Invalid array buffer length", Verdict.OOM),
        ("WebAssembly.Memory(): could not allocate memory", Verdict.OOM),
        ("WebAssembly.Memory.grow(): Maximum memory size exceeded", Verdict.OOM),
        ("WebAssembly.Memory(): Property 'initial': value 65537 is above the upper bound 65536",
         Verdict.UNSUPPORTED),
        ("Could not find an implementation for MatMulNBits(1)", Verdict.UNSUPPORTED),
        ("no available backend found. ERR: [wasm] out of memory", Verdict.OOM),
        ("Model loomed large", Verdict.CRASH),
    ],
)  # fmt: skip
def test_errors_of_engines(message: str, verdict: Verdict) -> None:
    error = (Kind.ENGINE_ERROR, {"name": "Error", "message": message})
    assert judge(told(CREATE, error)).verdict is verdict


DETAILS = st.dictionaries(
    st.sampled_from(
        [
            *("status", "code", "tokens", "finite", "message", "name", "line", "process"),
            *("reason", "signal", "subreason", "description", "before_loss", "phase"),
        ]
    ),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.sampled_from(["oom", "killed", "crashed", "٣", "²", "--9", "std::bad_alloc", "create"]),
        st.sampled_from(["renderer", "browser", "gpu", "LOW_MEMORY", "SIGNALED", "oom protected"]),
    ),
)
EVIDENCE = st.lists(
    st.builds(
        Evidence,
        at_seconds=st.floats(0, 1000),
        source=st.sampled_from(Source),
        kind=st.sampled_from(Kind),
        detail=DETAILS,
    ),
    max_size=12,
)


@given(EVIDENCE)
def test_any_evidence_gets_a_verdict_that_it_supports(evidence: Sequence[Evidence]) -> None:
    judged = judge(evidence)
    kinds = {item.kind for item in evidence}
    assert judged.cause
    assert isinstance(judged.explanation, str)
    if judged.verdict is Verdict.OK:
        done = min((i for i in evidence if i.kind is Kind.DONE), key=lambda i: i.at_seconds)
        assert int(done.text("tokens")) > 0
    first = {Kind.DONE, Kind.EARLIER_FAILURE, Kind.LEASE_LOST, Kind.REBOOTED, Kind.TRANSPORT_LOST}
    if Kind.OOM_KILL in kinds and not kinds & first:
        assert judged.verdict is Verdict.OOM
    if judged.cause == "low-memory-killer":
        assert kinds & {Kind.LMK_KILL, Kind.EXIT_RECORD}
        assert kinds & {
            Kind.RENDERER_GONE,
            Kind.BROWSER_GONE,
            Kind.DEVICE_LOST,
            Kind.CHILD_GONE,
            Kind.TRANSPORT_LOST,
        }
    if Kind.EARLIER_FAILURE in kinds and Kind.DONE not in kinds:
        assert judged.verdict is Verdict.CASCADE


@given(EVIDENCE)
def test_judging_again_gives_the_same(evidence: list[Evidence]) -> None:
    ordered = sorted(evidence, key=lambda item: item.at_seconds)
    assert judge(ordered) == judge(evidence)


@pytest.mark.parametrize(
    ("message", "verdict", "cause"),
    [
        # As they were seen, from sources of bytes and from engines.
        ("Error: /artifacts/a/model.onnx: HTTP 404", Verdict.INFRA, "lab"),
        ("TypeError: http://x/m.gguf cannot be fetched: Failed to fetch", Verdict.INFRA, "lab"),
        ("Error: file: model.gguf was not picked", Verdict.INFRA, "lab"),
        ("Error: file: m.gguf has 3 bytes, 4 were expected", Verdict.INFRA, "lab"),
        (
            "QuotaExceededError: opfs: m of 3 MiB does not fit into the storage of this page",
            Verdict.UNSUPPORTED,
            "limit",
        ),
        ("NotSupportedError: the page has no Cache API", Verdict.UNSUPPORTED, "limit"),
        ("Error: Tensor size does not match: a. Expected 4 but got 0", Verdict.INFRA, "artifact"),
    ],
)
def test_what_an_error_means(message: str, verdict: Verdict, cause: str) -> None:
    name, _, text = message.partition(": ")
    judged = judge(told(CREATE, (Kind.ENGINE_ERROR, {"name": name, "message": text})))
    assert (judged.verdict, judged.cause) == (verdict, cause)
    assert text in judged.explanation


def test_a_gpu_that_rejected_commands_and_fell_silent() -> None:
    late = (Kind.DEADLINE, {"phase": "first-token", "seconds": 9.0})
    judged = judge(told(CREATE, (Kind.VALIDATION, {"message": "Invalid BindGroup"}), late))
    assert (judged.verdict, judged.cause) == (Verdict.CRASH, "validation")
    refused = (
        Kind.VALIDATION,
        {"message": "Buffer size (2) exceeds the max buffer size limit (1)."},
    )
    assert judge(told(CREATE, refused, late)).cause == "limit"


GONE: tuple[Kind, dict[str, Any]] = (Kind.BROWSER_GONE, {})
LOST_GPU = (Kind.DEVICE_LOST, {"message": "lost"})
LOW = "LOW_MEMORY"


@pytest.mark.parametrize(
    "story",
    [
        # lmkd's line and the page's death, whichever comes first, and whatever CDP calls it.
        (LMKD, UNSEEN),
        (UNSEEN, LMKD),
        (LMKD, *KILLED),
        # An exit record alone is the system's word as well.
        (UNSEEN, exit_record("renderer", LOW)),
        (GONE, exit_record("browser", LOW, subreason="OOM KILL")),
        (LOST_GPU, exit_record("gpu", LOW)),
        # A limit of one app says so in a description, where it says so.
        (UNSEEN, exit_record("renderer", "OTHER", description="MemoryLimiter:AnonSwap")),
        # A phone that does not tell lmkd's kills apart: SIGKILL, and lmkd killed in this trial.
        (UNSEEN, exit_record("renderer", "SIGNALED", status=9), (Kind.LMK_KILL, {"pid": 4})),
        # The records say it after the phone came back: it happened before the phone was gone.
        (LMKD, UNSEEN, LOST),
        (LOST, exit_record("renderer", LOW, before_loss=True)),
        (LOST, exit_record("renderer", LOW, before_loss=True), (Kind.REBOOTED, {})),
    ],
)
def test_a_phone_killed_for_memory(story: Story) -> None:
    judged = judge(told(CREATE, *story))
    assert (judged.verdict, judged.cause) == (Verdict.OOM, "low-memory-killer")
    assert "for memory during create" in judged.explanation


def test_a_kill_for_memory_names_all_that_speak_of_it() -> None:
    record = exit_record("renderer", LOW, status=9)
    explanation = judge(told(CREATE, LMKD, *KILLED, record)).explanation
    for words in (
        "the phone's system killed the renderer",
        "lmkd: device is low on swap",
        "exit-info: LOW_MEMORY",
        "CDP: killed, 9",
    ):
        assert words in explanation


@pytest.mark.parametrize(
    ("story", "verdict", "cause"),
    [
        # lmkd kills others all the time.
        ((LMKD, (Kind.DEADLINE, {"phase": "create", "seconds": 3})), Verdict.HANG, "deadline"),
        ((LMKD, DONE), Verdict.OK, "tokens"),
        ((LMKD, GONE), Verdict.CRASH, "browser-gone"),
        (((Kind.LMK_KILL, {"process": "utility"}), UNSEEN), Verdict.CRASH, "unexplained"),
        # ... also another renderer than the page's, which crashed by itself.
        (
            (LMKD, (Kind.RENDERER_GONE, {"status": "crashed", "code": 11})),
            Verdict.CRASH,
            "segfault",
        ),
        # A renderer that is no longer needed ends, too.
        (
            (UNSEEN, exit_record("renderer", "OTHER", subreason="ISOLATED NOT NEEDED")),
            Verdict.CRASH,
            "unexplained",
        ),
        ((exit_record("renderer", LOW), DONE), Verdict.OK, "tokens"),
        # SIGKILL without a word of lmkd is somebody else's.
        ((UNSEEN, exit_record("renderer", "SIGNALED", status=9)), Verdict.CRASH, "killed"),
        (
            (UNSEEN, exit_record("renderer", "SIGNALED", status=6), (Kind.LMK_KILL, {})),
            Verdict.CRASH,
            "trap",
        ),
        ((UNSEEN, exit_record("renderer", "CRASH_NATIVE", status=11)), Verdict.CRASH, "segfault"),
        (
            (UNSEEN, (Kind.NATIVE_CRASH, {"process": "renderer", "signal": 11})),
            Verdict.CRASH,
            "segfault",
        ),
        (
            (UNSEEN, (Kind.PROCESS_EXIT, {"process": "renderer", "signal": 9})),
            Verdict.CRASH,
            "killed",
        ),
        ((UNSEEN, (Kind.V8_OOM, {"line": "V8 javascript OOM"})), Verdict.OOM, "v8-heap"),
        # Somebody ended the browser.
        ((GONE, exit_record("browser", "USER_REQUESTED")), Verdict.INFRA, "asked-for"),
        ((UNSEEN, exit_record("renderer", "PACKAGE_UPDATED")), Verdict.INFRA, "asked-for"),
        (
            (GONE, (Kind.SYSTEM_KILL, {"process": "browser", "reason": "from pid 4711"})),
            Verdict.INFRA,
            "asked-for",
        ),
        (
            (UNSEEN, (Kind.SYSTEM_KILL, {"process": "renderer", "reason": "isolated not needed"})),
            Verdict.CRASH,
            "unexplained",
        ),
        # A phone that is gone says nothing about itself, except what happened before.
        ((LOST, *KILLED), Verdict.INFRA, "transport-lost"),
        ((LOST, GONE, LMKD), Verdict.INFRA, "transport-lost"),
        ((LOST, exit_record("renderer", LOW)), Verdict.INFRA, "transport-lost"),
        ((LOST, exit_record("gpu", LOW, before_loss=True)), Verdict.INFRA, "transport-lost"),
        ((GONE, LOST), Verdict.INFRA, "transport-lost"),
        ((GONE, (Kind.REBOOTED, {"line": "system server"})), Verdict.INFRA, "rebooted"),
        # The page's own word says where, and never why.
        ((UNSEEN, (Kind.TOMBSTONE, {"phase": "create"})), Verdict.CRASH, "unexplained"),
    ],
)
def test_a_phone_that_did_not_kill_for_memory(story: Story, verdict: Verdict, cause: str) -> None:
    judged = judge(told(CREATE, *story))
    assert (judged.verdict, judged.cause) == (verdict, cause)


def test_the_pages_own_word_says_where_it_died() -> None:
    left = (Kind.TOMBSTONE, {"phase": "first-token"})
    explanation = judge(told(CREATE, UNSEEN, left)).explanation
    assert "went away during first-token" in explanation
    assert "possible, and not shown" in explanation


def test_without_a_word_of_memory_the_phone_is_said_to_be_silent() -> None:
    detail: dict[str, Any] = {"status": "killed", "code": 9}
    killed = Evidence(at_seconds=1, source=Source.CDP, kind=Kind.RENDERER_GONE, detail=detail)
    assert "neither lmkd nor exit-info speaks of memory" in judge([killed]).explanation
    driven = Evidence(at_seconds=1, source=Source.DRIVER, kind=Kind.RENDERER_GONE)
    assert "the kernel counted no memory kill" in judge([driven, killed]).explanation
