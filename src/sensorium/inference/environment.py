"""What this installation consists of, and which paths of computation it can use: ``sensorium doctor``."""

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
from ..processes import cores


@dataclass(frozen=True)
class Fact:
    """One line of the list: what was examined, its state, and what follows from it or repairs it."""

    what: str
    state: str
    note: str = ""


def examine() -> list[Fact]:
    """All facts that explain why something is slow or missing; takes a fraction of a second.

    >>> examine()[0].what
    'sensorium'
    """
    found = versions()
    return [
        *(Fact(name, found[name]) for name in ("sensorium", "python", "torch")),
        _processor(),
        _memory(),
        _structured_attention(),
        _bfloat16(),
        _gpu(),
        *_extras(),
    ]


def versions() -> dict[str, str]:
    """The versions on which a result depends; reports carry them."""
    return {"sensorium": version("sensorium"), "torch": torch.__version__, "python": platform.python_version()}


def processor_name() -> str:
    """The processor's model name; its architecture where the system does not tell the name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def free_memory() -> int | None:
    """Bytes of memory that are available; None: the system does not tell."""
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


def structured_attention() -> str:
    """How structured attention is computed on the CPU, in a few words.

    >>> structured_attention().startswith(("compiled", "fallback"))
    True
    """
    name = compiled_name()
    return "fallback in PyTorch" if name is None else f"compiled, {name}"


def _processor() -> Fact:
    num_cores, threads = cores(), torch.get_num_threads()
    note = ""
    if threads > num_cores:
        note = f"more threads than cores slow everything down; set OMP_NUM_THREADS={num_cores}"
    return Fact("processor", f"{processor_name()}, {_many(num_cores, 'core')}, {_many(threads, 'torch thread')}", note)


def _memory() -> Fact:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    parts = [(total, "GB"), (free_memory(), "GB free")]
    sizes = [f"{size / 1e9:.1f} {unit}" for size, unit in parts if size is not None]
    return Fact("memory", ", ".join(sizes) or "unknown")


def _structured_attention() -> Fact:
    if compiled_name() is not None:
        note = "pictures, video and other grids are computed from their axes, in float32"
    elif not any(Path(kernels.__file__).parent.glob("_grid_attention*")):
        note = "no compiled file: no C compiler when it was installed; install one, then pip install sensorium again"
    else:
        note = "the compiled file cannot be loaded here: built for another machine or source; pip install again"
    return Fact("structured attention", structured_attention(), note)


def _bfloat16() -> Fact:
    ratio = product_rate(torch.bfloat16) / product_rate(torch.float32)
    note = "training chooses it where it is faster (recipe.precision=auto)" if ratio > 1 else "float32 is faster here"
    return Fact("bfloat16 products", f"{ratio:.1f} × as fast as float32", note)


def _gpu() -> Fact:
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        return Fact("GPU", name, "attention to grids is not structured there; there is no GPU kernel for it yet")
    return Fact("GPU", "none that this torch can use", "everything runs on the CPU")


def _extras() -> list[Fact]:
    return [_extra(name, missing) for name, missing in _missing().items()]


def _extra(name: str, missing: list[str]) -> Fact:
    if not missing:
        return Fact(f"extra {name}", "installed")
    return Fact(f"extra {name}", "not installed", f"lacks {', '.join(missing)}; pip install 'sensorium[{name}]'")


def _missing() -> dict[str, list[str]]:
    """The packages that each extra requires and that are not installed."""
    missing: dict[str, list[str]] = {name: [] for name in metadata("sensorium").get_all("Provides-Extra") or []}
    for line in requires("sensorium") or []:
        found = re.match(r"([\w.-]+).*\bextra == ['\"]([\w.-]+)['\"]", line)
        if found and found[1] != "sensorium" and not _is_installed(found[1]):
            missing[found[2]].append(found[1])
    return missing


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
