"""A new browser is news once, and the first look is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from harness.fleet.versions import Versions, news, note_versions
from results.store import Store

if TYPE_CHECKING:
    from pathlib import Path

OLD = Versions(browser="chrome 140.0.1", runtimes={"wllama/wasm": "2.3"})
NEW = Versions(browser="chrome 141.0.0", runtimes={"wllama/wasm": "2.3", "litert-lm/wasm": "0.1"})

_versions = st.builds(
    Versions,
    browser=st.sampled_from(["a 1", "a 2"]),
    runtimes=st.dictionaries(st.sampled_from("xy"), st.sampled_from(["1", "2"])),
)


def test_something_new_is_said_once(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert note_versions(store, "pixel7", OLD) == []
        assert note_versions(store, "pixel7", OLD) == []
        assert note_versions(store, "galaxy-s24", NEW) == []
        assert note_versions(store, "pixel7", NEW) == ["browser", "runtime"]
        assert note_versions(store, "pixel7", NEW) == []
        assert note_versions(store, "pixel7", OLD) == ["browser"]


@given(_versions, _versions)
def test_the_same_is_no_news(one: Versions, other: Versions) -> None:
    assert news(one, one) == []
    assert ("browser" in news(one, other)) == (one.browser != other.browser)
    assert news(None, other) == []
