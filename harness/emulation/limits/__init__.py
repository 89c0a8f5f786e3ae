"""Memory and CPU limits around one browser's process tree, and the kernel's word on OOM kills.

    sweep()                                  # once at the start: what killed runs left behind
    limiter = find_limiter()                 # tried for real, or UserError with every reason
    with limiter.scope("pixel-8", Limits(memory_bytes=parse_bytes("4g"), cpus=2)) as scope:
        start([*scope.prefix, "chromium", ...])
        scope.oom_kills()                    # cheap: poll it every 10 ms

Three ways, in the order in which they are tried: cgroup v1, cgroup v2 in the own group, a systemd
scope, cgroup v2 in an ancestor of the own group. Where none works, limits are refused.

cgroup v1 is tested against the kernel. Of cgroup v2, joining, killing, removing and the switching
on of a controller are tested against a kernel whose v2 tree has no memory controller; its memory
and CPU files, and systemd-run, are tested against a fake tree and a fake program.
"""

from harness.emulation.limits.base import Limiter, Limits, MemoryUse, Scope
from harness.emulation.limits.find import find_limiter, observe, sweep
from harness.emulation.limits.sizes import format_bytes, parse_bytes

__all__ = [
    "Limiter",
    "Limits",
    "MemoryUse",
    "Scope",
    "find_limiter",
    "format_bytes",
    "observe",
    "parse_bytes",
    "sweep",
]
