"""Memory that a process holds, as Linux tells it."""

import re
from pathlib import Path


def peak_bytes() -> int:
    """The most memory that this program ever held (VmHWM).

    Not ru_maxrss: that one also remembers the process that started this program.
    """
    return _status("VmHWM")


def now_bytes() -> int:
    """The memory that this process holds now, shared pages among it (VmRSS)."""
    return _status("VmRSS")


def private_bytes() -> int:
    """The memory that this process shares with no other one and with no file."""
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    return int(re.findall(r"^Private_Dirty:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024


def _status(field: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024
