"""The stepwise memory probe and its tombstone, in a real Chromium with a tab that dies."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Error, sync_playwright

from tests.harness.probe.node import evaluated
from tests.harness.probe.page import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext, Page

MIB = 1 << 20
GIB = 1 << 30
SMALL = {"maxBytes": 4 * MIB, "stepBytes": MIB}
PHONE = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Mobile Safari/537.36"
)
PROBE = """async (options) => {
  const { probeMemory } = await import("/memory.js");
  return probeMemory(options);
}"""


@contextmanager
def browsing(**options: Any) -> Iterator[tuple[BrowserContext, str]]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=sandbox)
        yield browser.new_context(**options), address
        browser.close()


def visit(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    page.goto(address)
    return page


@pytest.mark.integration
def test_it_grows_in_steps_up_to_its_bound_and_leaves_no_note() -> None:
    with browsing() as (context, address):
        page = visit(context, address)
        found = page.evaluate(PROBE, SMALL)
        notes = page.evaluate("Object.keys(localStorage)")
    assert found["available"] is True
    assert found["good_bytes"] == found["tried_bytes"] == 4 * MIB
    assert found["steps"] == 4
    assert found["limited"] is found["died"] is False
    assert notes == []


@pytest.mark.integration
def test_it_takes_at_most_half_of_what_the_browser_says_there_is() -> None:
    with browsing() as (context, address):
        page = visit(context, address)
        page.evaluate(
            "Object.defineProperty(Navigator.prototype, 'deviceMemory', { get: () => 1 / 128 })"
        )
        found = page.evaluate(PROBE, {"maxBytes": GIB, "stepBytes": MIB})
    assert found["good_bytes"] == 4 * MIB
    assert found["limited"] is False


@pytest.mark.integration
def test_a_tab_that_died_is_known_on_the_next_visit() -> None:
    with browsing() as (context, address):
        page = visit(context, address)
        # The second step never ends: the tab dies behind the note of it.
        page.route(
            "**/memory-worker.js",
            lambda route: route.fulfill(
                content_type="text/javascript",
                body="onmessage = () => { onmessage = null; postMessage({ bytes: 1 << 20 }); };",
            ),
        )
        page.evaluate(
            """async (options) => {
              const { probeMemory } = await import("/memory.js");
              await new Promise((resolve) => { probeMemory({ ...options, onProgress: resolve }); });
            }""",
            SMALL,
        )
        page.wait_for_function("localStorage.length === 1")
        with page.expect_event("crash"), suppress(Error):
            page.goto("chrome://crash")
        again = visit(context, address)
        found = again.evaluate(PROBE, SMALL)
        second = again.evaluate(PROBE, SMALL)
        again.evaluate("""async () => (await import("/memory.js")).forgetMemory()""")
        forgotten = again.evaluate(PROBE, SMALL)
    assert found["died"] is found["limited"] is True
    assert found == second
    assert (found["good_bytes"], found["tried_bytes"]) == (MIB, 2 * MIB)
    assert found["steps"] == 0
    assert forgotten["died"] is False
    assert forgotten["good_bytes"] == 4 * MIB


@pytest.mark.integration
def test_leaving_the_page_is_no_death() -> None:
    with browsing() as (context, address):
        page = visit(context, address)
        page.evaluate(
            """async (options) => {
              const { probeMemory } = await import("/memory.js");
              await new Promise((resolve) => {
                probeMemory({ ...options, onProgress: resolve });
              });
            }""",
            {"maxBytes": 256 * MIB, "stepBytes": MIB},
        )
        page.goto(f"{address}?again")
        found = page.evaluate(PROBE, SMALL)
    assert found["died"] is False


@pytest.mark.integration
def test_phones_are_left_alone_unless_forced() -> None:
    with browsing(user_agent=PHONE) as (context, address):
        page = visit(context, address)
        refused = page.evaluate(PROBE, SMALL)
        forced = page.evaluate(PROBE, {**SMALL, "force": True})
    assert refused["available"] is False
    assert "phones" in refused["reason"]
    assert forced["good_bytes"] == 4 * MIB


@pytest.mark.integration
def test_a_second_tab_waits_for_no_first_one() -> None:
    with browsing() as (context, address):
        page = visit(context, address)
        answers = page.evaluate(
            """async (options) => {
              const { probeMemory } = await import("/memory.js");
              return Promise.all([probeMemory(options), probeMemory(options)]);
            }""",
            SMALL,
        )
    assert sorted(answer["available"] for answer in answers) == [False, True]
    assert "another tab" in next(item["reason"] for item in answers if not item["available"])


@pytest.mark.integration
def test_what_the_engine_refuses_is_the_limit() -> None:
    with browsing() as (context, address):
        page = visit(context, address)
        page.route(
            "**/memory-worker.js",
            lambda route: route.fulfill(
                content_type="text/javascript",
                body="""let total = 0;
                onmessage = ({ data }) => {
                  total += data.pages;
                  const error = total > 32 ? "RangeError: no more" : undefined;
                  postMessage({ error, bytes: total * 65536 });
                };""",
            ),
        )
        found = page.evaluate(PROBE, SMALL)
        page.unroute("**/memory-worker.js")
        page.route("**/memory-worker.js", lambda route: route.fulfill(status=404))
        missing = page.evaluate(PROBE, SMALL)
        notes = page.evaluate("Object.keys(localStorage)")
    assert found["limited"] is True
    assert found["good_bytes"] == 2 * MIB
    assert found["tried_bytes"] == 3 * MIB
    assert found["reason"] == "RangeError: no more"
    assert missing["limited"] is True
    assert notes == []


@pytest.mark.integration
def test_an_abort_ends_it_and_leaves_no_note() -> None:
    with browsing() as (context, address):
        page = visit(context, address)
        name = page.evaluate(
            """async (options) => {
              const { probeMemory } = await import("/memory.js");
              const controller = new AbortController();
              const onProgress = () => controller.abort();
              return probeMemory({ ...options, signal: controller.signal, onProgress })
                .then(() => "resolved", (error) => error.name);
            }""",
            SMALL,
        )
        notes = page.evaluate("Object.keys(localStorage)")
    assert name == "AbortError"
    assert notes == []


ESTIMATE = """
    const { estimateMemory } = await import("./memory.js");
    return cases.map(([gib, android, more]) => {
      const user_agent = android ? "Mozilla (Linux; Android 10)" : "Mozilla (X11)";
      return estimateMemory({ device_memory_gib: gib, user_agent }, more);
    });
"""


def estimates(*cases: tuple[float | None, bool, dict[str, Any]]) -> list[Any]:
    found: list[Any] = evaluated(ESTIMATE, cases=[list(case) for case in cases])
    return found


def test_memory_is_estimated_from_what_is_known() -> None:
    died = {"limited": True, "died": True, "good_bytes": 5, "tried_bytes": 7}
    bounded = {"limited": False, "died": False, "good_bytes": 5, "tried_bytes": 5}
    unknown, phone, large, desktop, given_bytes, dead, alive = estimates(
        (None, True, {}),
        (4, True, {}),
        (8, True, {}),
        (4, False, {}),
        (4, True, {"memoryBytes": 9, "memoryProbe": died}),
        (4, True, {"memoryProbe": died}),
        (None, True, {"memoryProbe": bounded}),
    )
    assert unknown is alive is None
    # 4 GiB are phones sold with 4 or 6: 1.2 and 2.3 GiB by the rule of the device profiles.
    assert phone["low_bytes"] == pytest.approx(1.2 * GIB)
    assert phone["high_bytes"] == pytest.approx(2.3 * GIB)
    assert large["low_bytes"] == pytest.approx(3.4 * GIB)
    assert large["high_bytes"] is None
    assert desktop["low_bytes"] == 2 * GIB
    assert desktop["high_bytes"] == 6 * GIB
    assert (given_bytes["low_bytes"], given_bytes["high_bytes"]) == (9, 9)
    assert (dead["low_bytes"], dead["high_bytes"]) == (5, 7)


def test_estimates_are_ordered_and_positive() -> None:
    sizes = (0.25, 0.5, 1, 2, 4, 8, 16, 32)
    for found in estimates(*((gib, android, {}) for gib in sizes for android in (False, True))):
        assert found["low_bytes"] > 0
        assert found["high_bytes"] is None or found["low_bytes"] <= found["high_bytes"]
