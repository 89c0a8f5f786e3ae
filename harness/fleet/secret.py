"""The secrets of a lab: from the environment, or from files that only their owner can read."""

from __future__ import annotations

import os
import re
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

PASSWORD: Final = "TIERLAB_FLEET_PASSWORD"  # noqa: S105 - the variable's name
"""What workers show the master."""
WEB_USER: Final = "TIERLAB_FLEET_WEB_USER"
WEB_PASSWORD: Final = "TIERLAB_FLEET_WEB_PASSWORD"  # noqa: S105 - the variable's name
"""What people show the web page."""

_LONGEST: Final = 1024
_LEAST: Final = 12


def take_secret(environment: MutableMapping[str, str], name: str) -> str | None:
    """The secret of a variable, or of the file that the variable with `_FILE` names.

    It is taken out of the environment: no browser, job or engine inherits it.

    Raises:
        UserError: the file cannot be used, or what it holds is no secret.
    """
    given, file = environment.pop(name, ""), environment.get(f"{name}_FILE", "")
    if given:
        return _checked(given.strip(), name)
    return _checked(_private_text(Path(file), name), file) if file else None


def need_secret(environment: MutableMapping[str, str], name: str, what: str) -> str:
    """Likewise, where there has to be one.

    Raises:
        UserError: there is none.
    """
    secret = take_secret(environment, name)
    if secret is None:
        raise UserError(
            f"{what} is not set", f"set {name}, or {name}_FILE to a file of mode 0600 that holds it"
        )
    return secret


def _private_text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UserError(
                    f"{path}: others than its owner can use the file of a secret ({mode:04o})",
                    f"chmod 600 {shlex.quote(str(path))}",
                )
            return file.read(_LONGEST).decode().strip()
    except OSError as error:
        raise UserError(
            f"{path}: the secret cannot be read: {error.strerror}",
            f"write it into that file, or set {name}",
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: the secret is not text", "write it anew") from None


def _checked(secret: str, source: str) -> str:
    if not re.fullmatch(r"[!-~]+", secret):
        raise UserError(
            f"{source}: {'more than a secret is in it' if secret else 'no secret is in it'}",
            "it must hold the secret alone: letters, digits and signs, in one line, no space",
        )
    if len(secret) < _LEAST:
        raise UserError(
            f"{source}: the secret has less than {_LEAST} signs", "openssl rand -hex 24 makes one"
        )
    return secret
