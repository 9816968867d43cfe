"""Damaged files, damaged requests and bombs: an answer, or a 4xx with a reason in one line; never a 500, and the server
lives."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import httpx2 as httpx
import pytest

pytest.importorskip("fastapi", reason="the extra serve")
sys.path.append(str(Path(__file__).parents[1] / "faults"))

from mutations import mutate
from served import KINDS, client, form, run_of
from small_files import SMALL_FILES, small_file

from sensorium.files import ending
from sensorium.serve.limits import memory_used

QUICK, MANY = 40, 2000
GROWTH = 700 << 20  # bytes that the process may take for it
# Of each kind, the small files that it reads or that are like those: the examples of its run come to them.
NAMES: dict[str, tuple[str, ...]] = {
    "image": ("a.png", "a.jpg", "a.gif", "a.webp", "a.bmp", "lzw.tif", "bands.tif", "a.dcm", "palette.png", "a.ppm"),
    "audio": ("a.wav", "a.flac", "a.ogg", "a.mp3", "a.au", "a.m4a", "a.mkv"),
    "video": ("a.mp4", "a.mkv", "a.avi", "a.mov"),
    "volume": ("a.nii", "a.nii.gz", "two.nii", "a.dcm", "frames.dcm", "bands.tif", "deflated.tif", "grid.npy"),
    "points": ("a.ply", "text.ply", "a.off", "a.obj", "a.stl", "a.glb", "a.xyz", "a.las", "a.laz", "a.pcd", "a.npy"),
    "series": ("a.csv", "a.ts", "a.edf", "a.npy", "a.npz", "a.h5", "a.mat", "a.parquet"),
    "text": ("a.txt",),
    "table": ("a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.arrow", "a.feather", "a.xlsx", "a.csv.gz"),
}


def bodies(kind: str) -> list[tuple[str, bytes]]:
    """The names and contents that damage starts from."""
    own = list(KINDS[kind].files.items())
    return own * 2 + [(name, small_file(name)) for name in NAMES[kind]]


def check(response: Any, what: str) -> int:
    """The status, which is right."""
    status = response.status_code
    assert status == 200 or 400 <= status < 500, f"{what}: {status} {response.text[:300]}"
    if status != 200:
        reason = response.json()["error"]
        assert reason, what
        assert "\n" not in reason, what
        assert "sensorium-" not in reason, f"{what}: it names a folder of the server: {reason}"
    return status


def send_damaged(kind: str, folder: Path, count: int) -> None:
    random, others = Random(kind), [small_file(name) for name in SMALL_FILES]
    starts = bodies(kind)
    statuses = []
    with client(run_of(kind, folder), unpacked=64 << 20) as server:
        before = memory_used()
        for number in range(count):
            name, content = starts[number % len(starts)]
            damaged = mutate(content, random, others)
            verb = ("predict", "predict", "explain", "embed")[number % 4]
            answer = server.post(f"/v1/{verb}", files=form({name: damaged}))
            statuses.append(check(answer, f"{kind} {number} {name}"))
        assert memory_used() - before < GROWTH
        assert server.get("/healthz").status_code == 200
    assert 200 in statuses
    assert {*statuses} - {200}


@pytest.mark.parametrize("kind", NAMES)
def test_damaged_files_are_answered_or_refused(kind: str, tmp_path: Path) -> None:
    send_damaged(kind, tmp_path, QUICK)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", NAMES)
def test_many_damaged_files_are_answered_or_refused(kind: str, tmp_path: Path) -> None:
    send_damaged(kind, tmp_path, MANY)


def send_damaged_requests(kind: str, folder: Path, count: int) -> None:
    """The JSON, and the form itself with its boundaries and names."""
    random, others = Random(kind), [small_file("a.txt"), small_file("a.jsonl"), b"[]", b"null", b"[[1]]"]
    whole = json.dumps({"examples": KINDS[kind].values}).encode()
    with client(run_of(kind, folder)) as server:
        request = httpx.Request("POST", "http://localhost", files=form(KINDS[kind].files))
        content = request.read()
        for number in range(count):
            damaged = mutate(whole, random, others)
            answer = server.post("/v1/predict", content=damaged, headers={"Content-Type": "application/json"})
            check(answer, f"{kind} JSON {number}")
            damaged = mutate(content, random, others)
            headers = {"Content-Type": request.headers["content-type"]}
            check(server.post("/v1/predict", content=damaged, headers=headers), f"{kind} form {number}")


@pytest.mark.parametrize("kind", ["points", "table", "text"])
def test_damaged_requests_are_answered_or_refused(kind: str, tmp_path: Path) -> None:
    send_damaged_requests(kind, tmp_path, QUICK)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["points", "table", "text"])
def test_many_damaged_requests_are_answered_or_refused(kind: str, tmp_path: Path) -> None:
    send_damaged_requests(kind, tmp_path, MANY)


READERS = {".npz": "points", ".npy": "points", ".h5": "series", ".mat": "series", ".parquet": "table", ".png": "image"}
READERS |= {".arrow": "table", ".xlsx": "table", ".flac": "audio", ".wav": "audio", ".las": "points", ".ply": "points"}
QUICK_BOMBS = ("zeros.npz", "header.npy", "a.las", "rows.parquet", "quick.wav")
READERS |= {".glb": "points", ".pcd": "points", ".edf": "series", ".dcm": "image", ".tif": "image", ".jsonl": "table"}


@pytest.mark.parametrize("names", [QUICK_BOMBS, pytest.param((), marks=pytest.mark.slow, id="all")])
def test_bombs_are_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    """Small files that unpack to more than they may: those of the tests of files."""
    test_bombs = pytest.importorskip("test_bombs")
    bombs = {name: make for name, (make, _, _) in test_bombs.BOMBS.items() if not names or name in names}
    kinds = {name: READERS[ending(name)] for name in bombs if ending(name) in READERS}
    refused = 0
    for kind in set(kinds.values()):
        with client(run_of(kind, tmp_path / kind), unpacked=16 << 20, pixels=10_000_000, seconds=100) as server:
            before = memory_used()
            for name in [name for name, reader in kinds.items() if reader == kind]:
                refused += check(server.post("/v1/predict", files=form({name: bombs[name]()})), name) == 422
            assert memory_used() - before < 200 << 20
    assert refused >= min(15, len(kinds))
