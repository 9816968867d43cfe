"""What a request may cost: each limit, who may ask, and what becomes of the server under load."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
import soundfile

pytest.importorskip("fastapi", reason="the extra serve")

from served import KINDS, client, form, listening, png, run_of, wav

from sensorium.modalities.image import Image
from sensorium.serve.batching import Batcher


def silence(seconds: float) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(round(8000 * seconds), np.float32), 8000, format="FLAC")
    return file.getvalue()


def zeros() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, points=np.zeros((1 << 20, 3), np.float32))
    return file.getvalue()


LIMITS: dict[str, tuple[str, dict[str, Any], dict[str, bytes], int, str]] = {
    "body": ("image", {"body": 1000}, {"a.png": bytes(2000)}, 413, "the request has more than 0.001 MB"),
    "pixels": ("image", {"pixels": 50}, {"a.png": png(0)}, 422, "the picture has 8 × 8 pixels, and 50 are the most"),
    "seconds": ("audio", {"seconds": 2}, {"a.flac": silence(3)}, 422, "the sound lasts 3 seconds, and 2 are the most"),
    "unpacked": (
        "points",
        {"unpacked": 1 << 20},
        {"a.npz": zeros()},
        422,
        "compressed file may take 0.00105 GB; save it",
    ),
    "examples": ("image", {"examples": 2}, {f"{n}.png": png(n) for n in range(3)}, 400, "Too many files"),
    "rows": ("table", {"examples": 2}, KINDS["table"].files, 422, "3 examples, 2 are the most"),
    "memory": ("image", {"memory": 1}, {"a.png": png(0)}, 503, "the server is short of memory"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_said_with_its_reason(name: str, tmp_path: Path) -> None:
    kind, limits, files, status, reason = LIMITS[name]
    with client(run_of(kind, tmp_path), **limits) as server:
        refused = server.post("/v1/predict", files=form(files))
        assert refused.status_code == status, refused.text
        assert reason in refused.json()["error"]
        assert server.get("/healthz").json() == {"status": "ok"}


def test_a_body_that_does_not_say_its_size_is_counted(tmp_path: Path) -> None:
    with client(run_of("image", tmp_path), body=10_000) as server:
        refused = server.post(
            "/v1/predict",
            content=(b"x" * 1000 for _ in range(100)),
            headers={"Content-Type": "application/json"},
        )
    assert refused.status_code == 413


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b"[1]", "application/json", 422),
        (b'{"examples": []}', "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b"a=1", "application/x-www-form-urlencoded", 415),
        (b"abc", "image/png", 415),
        (b"", "", 415),
        (b"nothing of a form", "multipart/form-data; boundary=x", 400),
        (b"nothing of a form", "multipart/form-data", 400),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 422),
    ],
)
def test_a_body_of_another_form_is_refused(content: bytes, kind: str, status: int, tmp_path: Path) -> None:
    with client(run_of("image", tmp_path)) as server:
        refused = server.post("/v1/predict", content=content, headers={"Content-Type": kind})
        assert refused.status_code == status, refused.text
        assert refused.json()["error"]
        assert server.get("/v1/predict").status_code == 405
        assert server.get("/v1/nothing").status_code == 404
        assert server.post("/v1/predict?top=0", files=form({"a.png": png(0)})).json()["error"].startswith("top: ")


def test_only_who_knows_the_token_is_answered(tmp_path: Path) -> None:
    with client(run_of("image", tmp_path), token="hush ✓") as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic hush"}, {"Authorization": ""}):
            refused = server.post("/v1/predict", files=form({"a.png": png(0)}), headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        for path in ("/metrics", "/v1/schema", "/openapi.json"):
            assert server.get(path).status_code == 401
        for path in ("/healthz", "/", "/page/style.css"):
            assert server.get(path).status_code == 200
        known = {"Authorization": "Bearer hush ✓".encode()}
        assert server.post("/v1/predict", files=form({"a.png": png(0)}), headers=known).status_code == 200


def test_pages_of_other_sites_are_not_answered(tmp_path: Path) -> None:
    """Neither by another name of this machine, nor across origins. Nothing may load our page into its own."""
    with client(run_of("image", tmp_path)) as server:
        assert server.get("/healthz", headers={"Host": "evil.example:8000"}).status_code == 421
        refused = server.post("/v1/predict", files=form({"a.png": png(0)}), headers={"Origin": "http://evil.example"})
        assert refused.status_code == 403
        own = server.post("/v1/predict", files=form({"a.png": png(0)}), headers={"Origin": "http://localhost"})
        assert own.status_code == 200
        policy = server.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.fixture
def slow_pictures(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Pictures called slow.png are decoded only once the event is set."""
    go_on = threading.Event()
    load = Image.load

    def slow(self: Image, raw: Any) -> Any:
        if isinstance(raw, Path) and raw.suffix == ".bmp":
            go_on.wait(30)
        return load(self, raw)

    monkeypatch.setattr(Image, "load", slow)
    yield go_on
    go_on.set()


def until(condition: Any, seconds: float = 20) -> None:
    """Wait until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


def open_requests(server: Any) -> float:
    lines = server.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("sensorium_open_requests")).split()[1])


SLOW = form({"a.bmp": png(0)})


def test_a_full_queue_answers_503_and_recovers(tmp_path: Path, slow_pictures: threading.Event) -> None:
    with client(run_of("image", tmp_path), queue=2) as server, ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(server.post, "/v1/predict", files=SLOW) for _ in range(2)]
        until(lambda: open_requests(server) == 2)
        refused = server.post("/v1/predict", files=form({"a.png": png(0)}))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert server.get("/healthz").status_code == 200
        slow_pictures.set()
        assert [future.result().status_code for future in slow] == [200, 200]
        assert server.post("/v1/predict", files=form({"a.png": png(0)})).status_code == 200
        assert open_requests(server) == 0


def test_a_file_that_takes_long_blocks_nobody(tmp_path: Path, slow_pictures: threading.Event) -> None:
    with client(run_of("image", tmp_path)) as server, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.post, "/v1/predict", files=SLOW)
        until(lambda: open_requests(server) == 1)
        for _ in range(3):
            assert server.post("/v1/predict", files=form({"a.png": png(0)})).status_code == 200
        assert not slow.done()
        slow_pictures.set()
        assert slow.result().status_code == 200


def test_a_request_that_takes_too_long_is_ended(tmp_path: Path, slow_pictures: threading.Event) -> None:
    with client(run_of("image", tmp_path), time=0.3) as server:
        refused = server.post("/v1/predict", files=SLOW)
        assert refused.status_code == 408
        assert "longer than 0.3 seconds" in refused.json()["error"]
        slow_pictures.set()
        assert open_requests(server) == 0


def test_nothing_is_kept_for_a_client_that_goes_away(tmp_path: Path, slow_pictures: threading.Event) -> None:
    """Its place in the queue is free at once, and the server goes on."""
    with listening(run_of("image", tmp_path), queue=1) as address:
        host, port = address.removeprefix("http://").split(":")
        body = httpx.Request("POST", address, files=SLOW)
        head = f"POST /v1/predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: {body.headers['content-type']}\r\n"
        with socket.create_connection((host, int(port))) as connection:
            content = body.read()
            connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            until(lambda: open_requests(httpx.Client(base_url=address)) == 1)
            assert httpx.post(f"{address}/v1/predict", files=form({"a.png": png(0)})).status_code == 503
        until(lambda: open_requests(httpx.Client(base_url=address)) == 0)
        with socket.create_connection((host, int(port))) as connection:  # goes away in the middle of its request
            connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[:100])
        until(lambda: open_requests(httpx.Client(base_url=address)) == 0)
        slow_pictures.set()
        assert httpx.post(f"{address}/v1/predict", files=form({"a.png": png(0)})).status_code == 200


def test_a_client_that_sends_slowly_is_ended(tmp_path: Path) -> None:
    with listening(run_of("image", tmp_path), time=0.3) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(
                b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000\r\n\r\n{"
            )
            assert b" 408 " in connection.recv(1000)


def test_what_was_taken_is_answered_before_the_program_ends(tmp_path: Path) -> None:
    """SIGTERM while a request waits: it gets its answer, and the status is 0."""
    run = run_of("image", tmp_path)
    command = [sys.executable, "-m", "sensorium", "serve", str(run), "--port", "0", "--latency", "1500"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=address, timeout=60) as sender:
            answer = pool.submit(sender.post, "/v1/predict", files=form({"a.png": png(0)}))
            until(lambda: open_requests(httpx.Client(base_url=address)) == 1)
            process.send_signal(signal.SIGTERM)
            assert answer.result().status_code == 200
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_queue_answers_in_order_and_together() -> None:
    """Jobs of one key at a time, at most as many as fit; one that is cancelled is not answered; a failure is told."""
    batches: list[tuple[str, list[int]]] = []
    begin = threading.Event()

    def answer(key: str, jobs: list[int]) -> list[int]:
        begin.wait(10)
        batches.append((key, jobs))
        if 13 in jobs:
            raise ValueError("thirteen")
        return [job * 2 for job in jobs]

    batcher: Batcher[int, int] = Batcher(answer, most=3, latency=0.0)
    futures = {0: batcher.submit("a", 0)}
    until(lambda: len(batcher) == 0)  # it is being answered
    futures |= {number: batcher.submit("ab"[number % 2], number) for number in range(1, 9)}
    futures[13] = batcher.submit("c", 13)
    assert futures[4].cancel()
    begin.set()
    batcher.close()
    right = {number: future.result() for number, future in futures.items() if number not in (4, 13)}
    assert right == {number: 2 * number for number in (0, 1, 2, 3, 5, 6, 7, 8)}
    assert str(futures[13].exception()) == "thirteen"
    assert batches == [("a", [0]), ("b", [1, 3, 5]), ("a", [2, 6]), ("b", [7]), ("a", [8]), ("c", [13])]
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit("a", 1)


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sensorium.cli import main

    run = run_of("image", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, reason in (
            ([str(run), "--port", str(port)], f"127.0.0.1:{port}: cannot listen"),
            ([str(tmp_path / "none")], "no model.safetensors"),
            ([str(run), "--queue", "0"], "queue is 0; give a positive number"),
        ):
            with pytest.raises(SystemExit) as ended:
                main(["serve", *arguments])
            assert ended.value.code == 2
            assert reason in capsys.readouterr().err


def test_numbers_of_json_may_be_sound(tmp_path: Path) -> None:
    """With a rate of its own; at the model's rate they are what a file holds."""
    run = run_of("audio", tmp_path)
    wave = soundfile.read(io.BytesIO(wav(0)), dtype="float32")[0].tolist()
    with client(run) as server:
        examples = [wave, {"values": wave, "rate": 8000}]
        first, second = server.post("/v1/predict", content=json.dumps({"examples": examples}), headers=JSON).json()[
            "answers"
        ]
        (third,) = server.post("/v1/predict", files=form({"a.wav": wav(0)})).json()["answers"]
    for answer in (first, second):
        assert list(answer["scores"].values()) == pytest.approx(list(third["scores"].values()), rel=1e-3)


JSON = {"Content-Type": "application/json"}
