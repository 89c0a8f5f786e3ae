"""A secret is one word, of a variable or of a file that only its owner can read."""

from __future__ import annotations

import os
import re
import shlex
import stat
from typing import TYPE_CHECKING, Final

from results.table import plain

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST: Final = 16_384


class UnusableSecretError(Exception):
    """No secret can be had there: the problem and the next step, without what was found."""

    def __init__(self, problem: str, next_step: str) -> None:
        self.problem = problem
        self.next_step = next_step
        super().__init__(f"{problem}\n  -> {next_step}")


def secret_of_file(path: Path, *, kind: str, variable: str) -> str:
    """The secret in a file.

    Args:
        path: the file; a pipe will do.
        kind: what sort of secret, as in "token".
        variable: the environment variable that takes the secret itself.

    Raises:
        UnusableSecretError: the file cannot be read, others can read it, or it holds no secret.
    """
    name = plain(str(path))
    try:
        with path.open("rb") as file:
            # Of the open file: what the name stands for may change meanwhile.
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UnusableSecretError(
                    f"{name}: others than its owner can use the file of the {kind} ({mode:04o})",
                    f"chmod 600 {shlex.quote(name)}",
                )
            text = file.read(_LONGEST + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UnusableSecretError(
            f"{name}: the {kind} cannot be read: {reason}",
            f"write the {kind} into that file, or set {variable}",
        ) from None
    return secret_of_text(text, kind=kind, source=name)


def secret_of_text(text: str, *, kind: str, source: str) -> str:
    """The secret that a text holds; space around it does not count.

    Raises:
        UnusableSecretError: it is not one word of printable ASCII. Anything else would end the
            header that a secret is sent in, and be quoted by what refuses it.
    """
    secret = text.strip()
    if len(secret) > _LONGEST or not re.fullmatch(r"[!-~]+", secret):
        raise UnusableSecretError(
            f"{source}: {f'more than a {kind} is in it' if secret else f'no {kind} is in it'}",
            f"it must hold the {kind} alone: letters, digits and signs, in one line, no space",
        )
    return secret
