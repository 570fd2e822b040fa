"""What every benchmark ends with: one line of JSON on standard output, kept under benchmarks/results/ too."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("finescale", "numpy", "scipy", "polars")


def machine() -> dict[str, object]:
    """Processor, cores that this process may use, memory in GB, system and Python."""
    model = platform.processor() or platform.machine()
    gigabytes = 0.0
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(
                (line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model
            )
        gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (OSError, ValueError):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": model,
        "cores": cores,
        "memory_gb": round(gigabytes, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Installed versions; packages that are absent are left out."""
    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def publish(
    benchmark: str,
    figures: Mapping[str, float | int | None],
    *,
    packages: Sequence[str] = (),
    keep: bool = True,
) -> None:
    """Prints the benchmark's one line of JSON and writes it to results/BENCHMARK.json.

    Args:
        benchmark: The benchmark's name.
        figures: Numbers by name; None for one that could not be measured here.
        packages: Packages whose versions matter, beside finescale, numpy, scipy and polars.
        keep: Write the file too.
    """
    result = {
        "benchmark": benchmark,
        "machine": machine(),
        "versions": versions((*PACKAGES, *packages)),
        "figures": dict(figures),
    }
    if keep:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{benchmark}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result), flush=True)
