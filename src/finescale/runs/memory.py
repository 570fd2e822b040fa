"""The peak memory of a run, measured: the GPU's where there is one, otherwise the process's."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from pathlib import Path

SAVE_MEMORY = "lower train.micro_batch_size, set train.gradient_checkpointing, or use fewer --workers"


def forget_peak() -> None:
    """Starts the measurement anew for the next run (on Linux; elsewhere the peak is the process's)."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError, AttributeError):  # glibc keeps what the last run freed: give it back
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int | None:
    """The largest memory since `forget_peak`, in bytes: allocated on the GPU, or resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    resident = resident_peak("self")
    return resident if resident is not None else accounted_peak() or None


def accounted_peak() -> int:
    """The largest resident memory in this process's account, in bytes; 0 where nobody keeps one.

    Unlike `resident_peak` it begins, on Linux, with the peak of the process that started this one.
    """
    with contextlib.suppress(ImportError):
        import resource  # noqa: PLC0415 - Unix only

        return largest_resident(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return 0


def resident_peak(process: int | str) -> int | None:
    """A living process's largest resident memory in bytes, since its start or `forget_peak` (Linux only)."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    return None


def largest_resident(ru_maxrss: int) -> int:
    """A resource usage's largest resident memory in bytes: macOS counts bytes, the others kilobytes."""
    return ru_maxrss if sys.platform == "darwin" else ru_maxrss * 1024


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the CPU or on a GPU."""
    # torch raises a plain RuntimeError where the CPU's memory runs out
    name, words = type(error).__name__, str(error)
    return isinstance(error, MemoryError) or name == "OutOfMemoryError" or "DefaultCPUAllocator" in words
