"""Whether the screen is on and unlocked.

Formats: AOSP frameworks/base, PowerManagerService.dump (`mWakefulness=Awake`, with an `m` less in
some releases), and PhoneWindowManager.dump: KeyguardServiceDelegate.dump's `showing=true`, before
Android 6 `mShowingLockscreen=true`.
"""

from __future__ import annotations

import re
from typing import Final

_WAKEFULNESS: Final = re.compile(
    r"^[ \t]*m?[Ww]akefulness(?:Raw)?=(?P<word>[A-Za-z]{1,20})\b", re.MULTILINE
)
_DELEGATE: Final = re.compile(
    r"^[ \t]*KeyguardServiceDelegate[^\n]*\n(?:[^\n]*\n){0,6}?[ \t]*showing=(?P<word>true|false)\b",
    re.MULTILINE,
)
_LOCKSCREEN: Final = re.compile(r"\bmShowingLockscreen=(?P<word>true|false)\b")


def parse_screen_on(text: str) -> bool | None:
    """Whether `dumpsys power` says that the phone is awake; None: it does not tell."""
    match = _WAKEFULNESS.search(text)
    return match["word"] == "Awake" if match else None


def parse_unlocked(text: str) -> bool | None:
    """Whether `dumpsys window policy` says that no lock screen shows; None: it does not tell."""
    match = _DELEGATE.search(text) or _LOCKSCREEN.search(text)
    return match["word"] == "false" if match else None
