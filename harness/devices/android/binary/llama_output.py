"""What llama.cpp's programs print.

`llama-bench` (tools/llama-bench/llama-bench.cpp): JSON, JSON lines or a Markdown table; a test has
`n_prompt` and `n_gen`, of which one is 0, and a rate for each repetition in `samples_ts` (JSON
only). Other programs print their timings at the end (src/llama-context.cpp,
`llama_perf_context_print`; before 2024 `llama_print_timings`). Fields come and go with versions:
what is missing is unknown.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from harness.devices.android.binary.figures import Figures, count, number, rates, short

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_TESTS: Final = 256
# What of a test goes into the record: how it was run, and what ran.
_FACTS: Final = (
    "backends",
    "build_commit",
    "build_number",
    "cpu_info",
    "flash_attn",
    "model_n_params",
    "model_size",
    "model_type",
    "n_batch",
    "n_depth",
    "n_threads",
    "n_ubatch",
    "type_k",
    "type_v",
)
_TEST: Final = re.compile(r"(?P<kind>pp|tg) ?(?P<tokens>\d{1,9})(?: ?@ ?d ?(?P<depth>\d{1,9}))?")
_RATE: Final = re.compile(r"(?P<mean>[\d.]{1,20})(?: ?(?:±|\+/-) ?(?P<spread>[\d.]{1,20}))?")
_BUILD: Final = re.compile(
    r"^build: (?P<commit>[0-9a-f]{4,40}) \((?P<number>\d{1,9})\)", re.MULTILINE
)
_TIMING: Final = re.compile(
    r"(?P<what>prompt eval|eval|load) time\s*=\s*(?P<ms>[\d.]{1,20}) ms"
    r"(?:\s*/\s*(?P<tokens>\d{1,9}) (?:tokens|runs))?"
)


def parse_llama_bench(text: str) -> Figures:
    """The figures of `llama-bench`, in whichever of its formats they are. Never raises."""
    tests = [*_json_tests(text), *_lines_of_json(text)] or list(_table(text))
    prefill = next((t for t in tests if count(t.get("n_prompt")) and not count(t.get("n_gen"))), {})
    decode = next((t for t in tests if count(t.get("n_gen")) and not count(t.get("n_prompt"))), {})
    told = decode or prefill
    build = _BUILD.search(text)
    commit = told.get("build_commit") or (build["commit"] if build else "")
    release = told.get("build_number") or (build["number"] if build else "")
    return Figures(
        prefill=_samples(prefill),
        decode=_samples(decode),
        prompt_tokens=count(prefill.get("n_prompt")),
        output_tokens=count(decode.get("n_gen")),
        version=f"b{release} ({commit})"[:80] if commit else "",
        facts={key: short(told[key]) for key in _FACTS if key in told},
    )


def parse_llama_timings(text: str) -> Figures:
    """The figures in llama.cpp's timing lines. Never raises."""
    found: dict[str, tuple[float, int | None]] = {}
    for line in _TIMING.finditer(text):
        ms = number(line["ms"])
        if ms is not None:
            found[line["what"]] = (ms, count(line["tokens"]))
    load = found.get("load")
    prompt_ms, prompt_tokens = found.get("prompt eval", (0.0, None))
    eval_ms, eval_tokens = found.get("eval", (0.0, None))
    return Figures(
        prefill=rates([1000 * prompt_tokens / prompt_ms] if prompt_tokens and prompt_ms else []),
        decode=rates([1000 * eval_tokens / eval_ms] if eval_tokens and eval_ms else []),
        prompt_tokens=prompt_tokens,
        output_tokens=eval_tokens,
        # It counts from the start of the program to the end of the first evaluation, so that no
        # part of it is loading alone.
        facts={"load_ms": load[0]} if load else {},
    )


def _samples(test: dict[str, Any]) -> tuple[float, ...]:
    samples = test.get("samples_ts")
    return rates(samples if isinstance(samples, list) and samples else [test.get("avg_ts")])


def _json_tests(text: str) -> Iterator[dict[str, Any]]:
    """The tests of `-o json`: one array, perhaps after lines of something else."""
    for start in re.finditer(r"^\s*\[", text, re.MULTILINE):
        try:
            found, _ = json.JSONDecoder().raw_decode(text, start.end() - 1)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, list) and any(isinstance(test, dict) for test in found):
            yield from [test for test in found if isinstance(test, dict)][:_MOST_TESTS]
            return


def _lines_of_json(text: str) -> Iterator[dict[str, Any]]:
    """The tests of `-o jsonl`: an object a line."""
    for line in text.splitlines()[: 1 << 16]:
        if not line.startswith("{"):
            continue
        try:
            test = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(test, dict) and "avg_ts" in test:
            yield test


def _table(text: str) -> Iterator[dict[str, Any]]:
    """The tests of the Markdown table; its columns differ by what was asked for."""
    header: list[str] = []
    for line in text.splitlines()[: 1 << 16]:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if "test" in cells and "t/s" in cells:
            header = cells
        elif header and len(cells) == len(header):
            row = dict(zip(header, cells, strict=True))
            test, rate = _TEST.fullmatch(row["test"]), _RATE.fullmatch(row["t/s"])
            if test and rate:
                yield {
                    "n_prompt": test["tokens"] if test["kind"] == "pp" else 0,
                    "n_gen": test["tokens"] if test["kind"] == "tg" else 0,
                    "n_depth": test["depth"] or 0,
                    "avg_ts": rate["mean"],
                    "model_type": row.get("model", ""),
                    "backends": row.get("backend", ""),
                    **({"n_threads": row["threads"]} if "threads" in row else {}),
                }
