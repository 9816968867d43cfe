"""docs/serving.md does what it says: its servers start, and its requests are answered."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

pytest.importorskip("fastapi", reason="the extra serve")

from served import CLASSES, KINDS, film, listening, png, run_of, wav

from pages import ROOT, blocks, shell_commands

PAGE = ROOT / "docs" / "serving.md"
FILES = {
    "photo.jpg": png(0),
    "1.wav": wav(1),
    "2.wav": wav(2),
    "a.mp4": film(0),
    "people.csv": KINDS["table"].files["rows.csv"],
}
# Of each request of the page: the kind of the model that it asks, and how many answers it has.
REQUESTS = [("image", 1), ("audio", 2), ("table", 3), ("fusion", 1), ("table", 1), ("image", None)]


def request_of(words: list[str]) -> dict[str, Any]:
    """What ``curl`` would send, as the arguments of ``httpx.Client.request``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("curl")
    parser.add_argument("-F", action="append", default=[], dest="form")
    parser.add_argument("-H", action="append", default=[], dest="headers")
    parser.add_argument("--json")
    parser.add_argument("url")
    command = parser.parse_args(words)
    url = urlsplit(command.url)
    parts = [part.split("=", 1) for part in command.form]
    return {
        "method": "POST" if parts or command.json else "GET",
        "url": f"{url.path}?{url.query}",
        "headers": dict(header.split(": ", 1) for header in command.headers),
        "files": [(name, (file[1:], FILES[file[1:]])) for name, file in parts if file.startswith("@")] or None,
        "data": {name: value for name, value in parts if not value.startswith("@")} or None,
        "json": None if command.json is None else json.loads(command.json),
    }


def test_requests_of_the_page_are_answered(tmp_path: Path) -> None:
    """Each is sent to a server of a small model that reads what it sends."""
    commands = [words for words in shell_commands(PAGE) if words[0] == "curl"]
    for number, (words, (kind, count)) in enumerate(zip(commands, REQUESTS, strict=True)):
        token = "hush" if "-H" in words else ""
        words = [word.replace("$SENSORIUM_TOKEN", token) for word in words]
        with listening(run_of(kind, tmp_path / str(number), task=CLASSES), token=token) as address:
            found = httpx.Client(base_url=address, timeout=60).request(**request_of(words))
        assert found.status_code == 200, (words, found.text)
        answers = found.json().get("answers")
        assert answers is None or not any("error" in answer for answer in answers), (words, answers)
        assert count is None or len(answers) == count, words


@pytest.mark.slow
def test_servers_of_the_page_start(tmp_path: Path) -> None:
    """All of its commands at once, each at a port that is free."""
    run_of("image", tmp_path / "runs" / "birds")
    lines = [line for _, text in blocks(PAGE, "sh") for line in text.splitlines() if re.search(r"\bsensorium \w", line)]
    assert len(lines) == 4
    with ExitStack() as stack:
        for line in lines:
            command = re.sub(r"--port \d+|#.*", "", line).replace("sensorium", f"exec {sys.executable} -m sensorium", 1)
            process = subprocess.Popen(
                ["bash", "-c", f"{command} --port 0"],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            stack.callback(process.wait, 60)
            stack.callback(process.send_signal, signal.SIGTERM)
            assert process.stdout is not None
            address = process.stdout.readline().split()[1].replace("0.0.0.0", "127.0.0.1")
            assert httpx.get(f"{address}/").status_code == 200
