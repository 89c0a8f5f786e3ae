"""Secrets come from the environment, or from files that only their owner can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.errors import UserError
from harness.fleet.secret import PASSWORD, need_secret, take_secret

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "correct-horse-battery"  # noqa: S105 - of a test


def test_it_is_taken_out_of_the_environment() -> None:
    environment = {PASSWORD: SECRET, "HOME": "/root"}
    assert take_secret(environment, PASSWORD) == SECRET
    assert environment == {"HOME": "/root"}


def test_a_file_that_nobody_else_reads_will_do(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    assert take_secret({f"{PASSWORD}_FILE": str(file)}, PASSWORD) == SECRET
    file.chmod(0o640)
    with pytest.raises(UserError, match="chmod 600"):
        take_secret({f"{PASSWORD}_FILE": str(file)}, PASSWORD)


@pytest.mark.parametrize(
    ("text", "said"),
    [("two words of it", "more than a secret"), ("  ", "no secret"), ("short", "less than 12")],
)
def test_what_is_none(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        take_secret({PASSWORD: text}, PASSWORD)


def test_a_missing_one_is_asked_for(tmp_path: Path) -> None:
    assert take_secret({}, PASSWORD) is None
    with pytest.raises(UserError, match="TIERLAB_FLEET_PASSWORD_FILE"):
        need_secret({}, PASSWORD, "the password of the workers")
    with pytest.raises(UserError, match="cannot be read"):
        take_secret({f"{PASSWORD}_FILE": str(tmp_path / "none")}, PASSWORD)
