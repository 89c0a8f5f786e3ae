"""A service of a master that works at the master's desk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from buildbot.util.service import BuildbotService
from twisted.internet import defer

if TYPE_CHECKING:
    from harness.fleet.buildbot.desk import Desk


class DeskService(BuildbotService):
    """Lives as long as the master; a `buildbot reconfig` gives it a new desk."""

    compare_attrs: ClassVar[list[str]] = ["desk"]

    def checkConfig(self, desk: Desk) -> None:
        """Take the desk of the master."""
        self.desk = desk

    def reconfigService(self, desk: Desk) -> Any:
        """Take the desk of the master."""
        self.desk = desk
        return defer.succeed(None)
