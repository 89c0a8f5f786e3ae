"""The secrets of a lab: from the environment, or from files that only their owner can read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import UserError
from results.secrets import UnusableSecretError, secret_of_file, secret_of_text

if TYPE_CHECKING:
    from collections.abc import MutableMapping

PASSWORD: Final = "TIERLAB_FLEET_PASSWORD"  # noqa: S105 - the variable's name
"""What workers show the master."""
WEB_USER: Final = "TIERLAB_FLEET_WEB_USER"
WEB_PASSWORD: Final = "TIERLAB_FLEET_WEB_PASSWORD"  # noqa: S105 - the variable's name
"""What people show the web page."""

_LEAST: Final = 12


def take_secret(environment: MutableMapping[str, str], name: str) -> str | None:
    """The secret of a variable, or of the file that the variable with `_FILE` names.

    It is taken out of the environment: no browser, job or engine inherits it.

    Raises:
        UserError: the file cannot be used, or what it holds is no secret.
    """
    given, file = environment.pop(name, ""), environment.get(f"{name}_FILE")
    try:
        if given:
            secret, source = secret_of_text(given, kind="secret", source=name), name
        elif file:
            secret, source = secret_of_file(Path(file), kind="secret", variable=name), file
        else:
            return None
    except UnusableSecretError as error:
        raise UserError(error.problem, error.next_step) from None
    if len(secret) < _LEAST:
        raise UserError(
            f"{source}: the secret has less than {_LEAST} signs", "openssl rand -hex 24 makes one"
        )
    return secret


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
