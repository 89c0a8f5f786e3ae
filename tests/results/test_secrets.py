"""A secret is one word, and no message quotes what was found instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.secrets import UnusableSecretError, secret_of_file, secret_of_text

if TYPE_CHECKING:
    from pathlib import Path


@given(st.text())
def test_it_is_one_word_or_a_problem_that_does_not_quote_it(text: str) -> None:
    try:
        secret = secret_of_text(text, kind="password", source="HERE")
    except UnusableSecretError as error:
        problem = error.problem
        assert problem in {"HERE: no password is in it", "HERE: more than a password is in it"}
    else:
        assert secret == text.strip()
        assert secret.isascii()
        assert len(secret.split()) == 1


def test_an_endless_file_holds_more_than_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "endless"
    file.write_bytes(b"x" * 1_000_000)
    file.chmod(0o600)
    with pytest.raises(UnusableSecretError, match="more than a token is in it"):
        secret_of_file(file, kind="token", variable="TOKEN")


def test_the_next_step_names_the_file_and_the_variable(tmp_path: Path) -> None:
    with pytest.raises(UnusableSecretError, match=r"-> write the token .*, or set TOKEN"):
        secret_of_file(tmp_path / "none", kind="token", variable="TOKEN")
    file = tmp_path / "a token"
    file.touch(0o644)
    with pytest.raises(UnusableSecretError, match=r"-> chmod 600 '.*a token'"):
        secret_of_file(file, kind="token", variable="TOKEN")
