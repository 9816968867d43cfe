"""What this installation has, which path runs and why: ``sensorium doctor``."""

from __future__ import annotations

import os
import platform
import re
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

import torch

from ..nn import ops as kernels
from ..nn.ops import compiled_name


@dataclass(frozen=True)
class Fact:
    """One line of the list: what was looked at, how it is, and what follows from it or would cure it."""

    what: str
    state: str
    note: str = ""


def examine() -> list[Fact]:
    """Everything worth knowing before asking why something is slow or missing; takes a fraction of a second.

    >>> examine()[0].what
    'sensorium'
    """
    found = versions()
    return [
        *(Fact(name, found[name]) for name in ("sensorium", "python", "torch")),
        _processor(),
        _memory(),
        _structured_read(),
        _bfloat16(),
        _gpu(),
        *_extras(),
    ]


def versions() -> dict[str, str]:
    """What made a result: the versions a report carries."""
    import platform
    from importlib.metadata import version

    return {"sensorium": version("sensorium"), "torch": torch.__version__, "python": platform.python_version()}


def processor_name() -> str:
    """What the maker calls the processor; its architecture where the system does not say."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int | None:
    """Bytes that can be had without pushing others out; None: the system does not say."""
    info = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", info.read_text("utf-8")) if info.exists() else None
    return int(found[1]) * 1024 if found else None


def product_rate(dtype: torch.dtype, *, side: int = 512) -> float:
    """Floating point operations a second of a matrix product of ``side``: the best of a few."""
    left, right = torch.rand(2, side, side).to(dtype)
    best = float("inf")
    for _ in range(8):  # the first one warms up
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def structured_read() -> str:
    """How grids are read on the CPU, in a few words.

    >>> structured_read().startswith(("compiled", "twin"))
    True
    """
    name = compiled_name()
    return "twin in PyTorch" if name is None else f"compiled, {name}"


def _processor() -> Fact:
    here, threads = cores(), torch.get_num_threads()
    note = ""
    if threads > here:
        note = f"more threads than cores slow everything down; set OMP_NUM_THREADS={here}"
    return Fact("processor", f"{processor_name()}, {_many(here, 'core')}, {_many(threads, 'torch thread')}", note)


def _memory() -> Fact:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    parts = [(total, "GB"), (free_memory(), "GB free")]
    told = [f"{size / 1e9:.1f} {unit}" for size, unit in parts if size is not None]
    return Fact("memory", ", ".join(told) or "unknown")


def _structured_read() -> Fact:
    if compiled_name() is not None:
        note = "pictures, video and other grids are read from their parts, in float32"
    elif not any(Path(kernels.__file__).parent.glob("_grid_attention*")):
        note = "no compiled file: no C compiler when it was installed; install one, then pip install sensorium again"
    else:
        note = "the compiled file cannot be loaded here: built for another machine or source; pip install again"
    return Fact("structured read", structured_read(), note)


def _bfloat16() -> Fact:
    ratio = product_rate(torch.bfloat16) / product_rate(torch.float32)
    note = "training may use it by itself (recipe.precision=auto)" if ratio > 1 else "float32 is the faster one here"
    return Fact("bfloat16 products", f"{ratio:.1f} × as fast as float32", note)


def _gpu() -> Fact:
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        return Fact("GPU", name, "grids are spelled out there and read in chunks; there is no GPU kernel for them yet")
    return Fact("GPU", "none that this torch can use", "everything runs on the CPU")


def _extras() -> list[Fact]:
    return [_extra(name, missing) for name, missing in _missing().items()]


def _extra(name: str, missing: list[str]) -> Fact:
    if not missing:
        return Fact(f"extra {name}", "installed")
    return Fact(f"extra {name}", "not installed", f"lacks {', '.join(missing)}; pip install 'sensorium[{name}]'")


def _missing() -> dict[str, list[str]]:
    """What each extra asks for that is not there, as the installed package declares it."""
    missing: dict[str, list[str]] = {name: [] for name in metadata("sensorium").get_all("Provides-Extra") or []}
    for line in requires("sensorium") or []:
        found = re.match(r"([\w.-]+).*\bextra == ['\"]([\w.-]+)['\"]", line)
        if found and found[1] != "sensorium" and not _there(found[1]):
            missing[found[2]].append(found[1])
    return missing


def _there(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
