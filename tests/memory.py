"""How much memory a process has taken, for tests that measure one of their own."""

from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """Returns the most memory that this process has taken since its program began.

    `getrusage` would not do: on Linux a started program inherits the peak of the one that started
    it, here of a whole test suite.
    """
    for line in STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no line `VmHWM`.")
