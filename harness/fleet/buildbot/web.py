"""The web page of a master: open to this machine's users, or to people with a password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildbot.www.auth import UserPasswordAuth
from buildbot.www.authz import Authz
from buildbot.www.authz.endpointmatchers import AnyControlEndpointMatcher
from buildbot.www.authz.roles import RolesFromUsername

from harness.errors import UserError
from harness.fleet.config import is_loopback
from harness.fleet.secret import WEB_PASSWORD, WEB_USER

if TYPE_CHECKING:
    from harness.fleet.config import Controller


def web(controller: Controller, user: str | None, password: str | None) -> dict[str, Any]:
    """Buildbot's `www`. Who may see the page may start and stop runs only with the password.

    Raises:
        UserError: the page is for other machines, and there is no password.
    """
    address = controller.web_bind.replace(":", "\\:")
    page: dict[str, Any] = {
        "port": f"tcp:{controller.web_port}:interface={address}",
        "plugins": {},
        "allowed_origins": [controller.web_url.rstrip("/")],
    }
    if user and password:
        page["auth"] = UserPasswordAuth({user: password})
        page["authz"] = Authz(
            allowRules=[AnyControlEndpointMatcher(role="operators")],
            roleMatchers=[RolesFromUsername(roles=["operators"], usernames=[user])],
        )
    elif not is_loopback(controller.web_bind):
        raise UserError(
            f"the web page is to listen at {controller.web_bind}, where others reach it, and has no"
            " password",
            f"set {WEB_USER} and {WEB_PASSWORD} (or {WEB_PASSWORD}_FILE), or web_bind ="
            ' "127.0.0.1" behind a web server that asks for one',
        )
    return page
