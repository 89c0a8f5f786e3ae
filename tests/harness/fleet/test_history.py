"""How long tests will take."""

from __future__ import annotations

from harness.fleet.history import History
from harness.fleet.units import Subject
from harness.models import Workload

SMALL = Workload("gemma-3-270m", "int4", "onnxruntime-web/wasm", 16, 8)
LARGE = Workload("gemma-7b", "int8", "onnxruntime-web/wasm", 16, 8)
WORKLOADS = {"small": SMALL, "large": LARGE}
TESTS = ["suites/test_full_load.py::a[pixel7-small]", "suites/test_full_load.py::b[pixel7-small]"]


def test_as_it_took_before() -> None:
    history = History(
        {
            ("pixel7", "test_full_load.py::a[pixel7-small]"): 300.0,
            ("pixel7", "test_full_load.py::b[pixel7-small]"): 0.5,
            ("galaxy", "test_full_load.py::a[pixel7-small]"): 9.0,
        },
        WORKLOADS,
    )
    assert history.seconds(Subject("pixel7", "small"), TESTS) == 300.5
    # A test that is new is short: it reads the record that another one waits for.
    assert history.seconds(Subject("pixel7", "small"), [*TESTS, "new.py::c[pixel7-small]"]) == 300.5


def test_by_size_where_it_never_ran() -> None:
    history = History({}, WORKLOADS)
    small = history.seconds(Subject("pixel7", "small"), TESTS)
    large = history.seconds(Subject("pixel7", "large"), TESTS)
    assert 60 < small < 120 < large < 3600
    assert 0 < history.seconds(Subject("pixel7", ""), ["environment.py::a[pixel7]"]) < small
