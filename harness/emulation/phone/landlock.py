"""Landlock: where there are no namespaces, the phone can still be kept from changing the host.

A process gives up rights over files for itself and for all that it starts; no privilege is needed.
API: Linux `Documentation/userspace-api/landlock.rst` (since 5.13; renaming between folders since
5.19, truncation since 6.2, signals and abstract sockets since 6.12).
"""

from __future__ import annotations

import ctypes
import os
import struct
from enum import IntFlag
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Final

from harness.emulation.phone import linux

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_SCOPES: Final = 3  # abstract sockets, signals
_SCOPES_SINCE: Final = 6
_REFER_SINCE: Final = 2
_TRUNCATE_SINCE: Final = 3


class Right(IntFlag):
    """What may be done below a folder; reading and executing are never taken away here."""

    WRITE_FILE = 1 << 1
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14


# Not ~Right(0): that has the bits between as well, which are reading and executing.
ALL: Final = reduce(or_, Right)
WRITE: Final = Right.WRITE_FILE | Right.TRUNCATE
_libc: Final = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "landlock")
    return result


def restrict(allowed: Mapping[Path, Right]) -> None:
    """Give up changing files but below these paths, for ever.

    Where the kernel knows how, also signals to processes outside and their abstract sockets.

    Raises:
        OSError: the kernel has no Landlock, or does not allow it here.
    """
    version = _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    handled = _known(ALL, version)
    attributes = struct.pack("=Q", handled)
    if version >= _SCOPES_SINCE:
        attributes = struct.pack("=QQQ", handled, 0, _SCOPES)
    rules = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    try:
        for path, rights in allowed.items():
            if path.exists():
                _allow(rules, path, _known(rights, version))
        linux.forbid_new_privileges()
        _call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    finally:
        os.close(rules)


def _known(rights: Right, version: int) -> Right:
    """The rights that this version of the kernel's interface knows."""
    missing = Right.REFER if version < _REFER_SINCE else Right(0)
    missing |= Right.TRUNCATE if version < _TRUNCATE_SINCE else Right(0)
    return rights ^ (rights & missing)


def _allow(rules: int, path: Path, rights: Right) -> None:
    if not path.is_dir():
        rights &= WRITE
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights, place)
        _call(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(place)
