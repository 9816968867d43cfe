"""Load on four servers, one for each kind of signal: many clients at a time, and one after the other.

    python benchmarks/serving.py [--requests 2000] [--clients 200] [--alone 200] [--json]

Pictures, sounds, point clouds and texts, a process of ``sensorium serve`` for each, over loopback. Every request is one
example, every answer is compared with that of ``sensorium predict`` for the same file: none may be lost or mixed up. A
full queue is tried, too: with room for 8 requests, 200 clients get 503 with Retry-After, come again, and all are
answered. Clients and servers share the cores. The models have random weights, so that their answers differ.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import soundfile
from PIL import Image

import sensorium as sm

EXAMPLES = 32  # different ones of each kind
CLOSE = 1e-3  # of answers of about 1: an answer depends on its batch mates by rounding alone
CLASSES = [f"number {number}" for number in range(5)]
TASK = {"kind": "regress", "classes": CLASSES, "mean": [0.0] * 5, "std": [1.0] * 5}
ENCODER = {
    "num_latents": 32,
    "latent_channels": 128,
    "cross_attention": [0, 1],
    "latent_transformer": [0, 0],
    "num_layers": 2,
    "num_self_attention_heads": 4,
}
INPUTS: dict[str, dict[str, Any]] = {
    "image": {"kind": "image", "size": [64, 64], "patch": [4, 4], "bands": 16, "mean": [0.5] * 3, "std": [0.3] * 3},
    "audio": {"kind": "audio", "rate": 16000, "samples": 16000},
    "points": {"kind": "points", "points": 512},
    "text": {"kind": "text", "length": 256, "channels": 64},
}


def example(kind: str, number: int) -> tuple[str, bytes]:
    """The name and the content of a file."""
    drawn = np.random.default_rng(number)
    file = io.BytesIO()
    if kind == "image":
        Image.fromarray(drawn.integers(0, 256, (96, 96, 3), np.uint8)).save(file, "JPEG", quality=90)
        return f"{number}.jpg", file.getvalue()
    if kind == "audio":
        tone = np.sin(np.arange(16000) * drawn.uniform(0.02, 0.6)) * 0.3 + drawn.normal(0, 0.05, 16000)
        soundfile.write(file, tone, 16000, format="FLAC")
        return f"{number}.flac", file.getvalue()
    if kind == "points":
        np.save(file, (drawn.normal(size=(600, 3)) * drawn.uniform(0.2, 1, 3)).astype(np.float32))
        return f"{number}.npy", file.getvalue()
    words = " ".join("".join(map(chr, drawn.integers(97, 123, 6))) for _ in range(30))
    return f"{number}.txt", words.encode()


def make_run(kind: str, folder: Path) -> Path:
    """A run folder of a model of random weights."""
    import torch
    import yaml

    config = folder / f"{kind}.yaml"
    config.write_text(yaml.safe_dump({"inputs": INPUTS[kind], "encoder": ENCODER, "task": TASK}))
    torch.manual_seed(0)
    model = sm.build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    sm.save(model, folder / kind)
    return folder / kind


@dataclass
class Server:
    """A running server."""

    address: str
    process: subprocess.Popen[str]

    def memory(self) -> tuple[float, float]:
        """Megabytes: now, and the most there were."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        return tuple(int(fields[name].split()[0]) / 1000 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


@contextmanager
def started(run: Path, *options: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "sensorium", "serve", str(run), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(process.stdout.readline().split()[1], process)
        finally:
            process.terminate()


@dataclass(frozen=True)
class Request:
    kind: str
    name: str
    content: bytes
    expected: dict[str, float]


@dataclass
class Outcome:
    """Seconds of each answered request, how many were wrong or failed, and how often one had to come again."""

    seconds: list[float]
    wall: float
    wrong: int = 0
    failed: int = 0
    again: int = 0

    def line(self) -> dict[str, Any]:
        ordered = np.sort(self.seconds)
        return {
            "requests": len(self.seconds),
            "wrong": self.wrong,
            "failed": self.failed,
            "503": self.again,
            "requests a second": round(len(self.seconds) / self.wall, 1),
            "p50 ms": round(1000 * float(np.quantile(ordered, 0.5)), 1),
            "p99 ms": round(1000 * float(np.quantile(ordered, 0.99)), 1),
        }


async def load(requests: list[Request], servers: dict[str, Server], *, clients: int) -> Outcome:
    """Send the requests, by so many clients at a time, each with connections of its own."""
    waiting = iter(requests)
    outcome = Outcome([], 0.0)

    async def one_client() -> None:
        async with httpx.AsyncClient(timeout=300) as client:
            for request in waiting:
                await send(client, request)

    async def send(client: httpx.AsyncClient, request: Request) -> None:
        began = time.perf_counter()
        address = f"{servers[request.kind].address}/v1/predict"
        while True:
            answer = await client.post(address, files={"file": (request.name, request.content)})
            if answer.status_code != 503:
                break
            outcome.again += 1
            await asyncio.sleep(float(answer.headers["Retry-After"]) * random.uniform(0.2, 1))
        outcome.seconds.append(time.perf_counter() - began)
        if answer.status_code != 200:
            outcome.failed += 1
            return
        (found,) = answer.json()["answers"]
        close = all(abs(found["scores"][name] - value) < CLOSE for name, value in request.expected.items())
        outcome.wrong += found["file"] != request.name or not close

    began = time.perf_counter()
    await asyncio.gather(*(one_client() for _ in range(clients)))
    outcome.wall = time.perf_counter() - began
    return outcome


def all_requests(runs: dict[str, Path]) -> list[Request]:
    """Each example of each kind, with the answer of ``sensorium predict``."""
    found = []
    for kind, run in runs.items():
        model = sm.load(run)
        with tempfile.TemporaryDirectory() as folder:
            files = [example(kind, number) for number in range(EXAMPLES)]
            for name, content in files:
                Path(folder, name).write_bytes(content)
            answers = sm.predict(model, [Path(folder, name) for name, _ in files])
        found += [Request(kind, *file, answer.scores) for file, answer in zip(files, answers, strict=True)]
        values = np.array([list(answer.scores.values()) for answer in answers])
        apart = np.abs(values[:, None] - values[None]).max(-1) + np.eye(EXAMPLES)
        assert apart.min() > 5 * CLOSE, f"{kind}: answers of two examples are too close to be told apart"
    return found


def measure(*, requests: int, clients: int, alone: int) -> dict[str, Any]:
    random.seed(0)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        runs = {kind: make_run(kind, Path(folder)) for kind in INPUTS}
        known = all_requests(runs)
        mixed = random.choices(known, k=requests)
        servers = {kind: stack.enter_context(started(run)) for kind, run in runs.items()}
        warm = asyncio.run(load(known, servers, clients=8))
        before = {kind: server.memory()[0] for kind, server in servers.items()}
        one = asyncio.run(load(mixed[:alone], servers, clients=1))
        many = asyncio.run(load(mixed, servers, clients=clients))
        after = {kind: server.memory()[1] for kind, server in servers.items()}
        batches = {}
        for kind, server in servers.items():
            text = httpx.get(f"{server.address}/metrics").text
            values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
            total, count = (float(values[f"sensorium_batch_examples_{name}"]) for name in ("sum", "count"))
            batches[kind] = round(total / count, 1)
        with started(runs["image"], "--queue", "8") as small:
            pictures = [request for request in mixed if request.kind == "image"]
            full = asyncio.run(load(pictures, {"image": small}, clients=clients))
    return {
        "warm-up": warm.line(),
        "one by one": one.line(),
        f"{clients} clients": many.line(),
        "room for 8": full.line(),
        "megabytes before": {kind: round(size) for kind, size in before.items()},
        "megabytes at most": {kind: round(size) for kind, size in after.items()},
        "examples answered together, on average": batches,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--alone", type=int, default=200, help="requests that are sent one after the other")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(requests=options.requests, clients=options.clients, alone=options.alone)
    if options.json:
        print(json.dumps(found))
    else:
        for name, line in found.items():
            print(f"{name}: {', '.join(f'{value} {key}' for key, value in line.items())}")
    lines = [line for line in found.values() if "wrong" in line]
    sys.exit(any(line["wrong"] or line["failed"] for line in lines))


if __name__ == "__main__":
    main()
