"""A run while it trains: what is known of it is sent whenever it changes."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2 as httpx
import pytest

pytest.importorskip("fastapi", reason="the extra serve")

from served import running

from sensorium.serve.watch import create_app, state_of
from sensorium.training.run_folder import append_history

REPORT = {
    "task": "classify",
    "split": "test",
    "samples": 10,
    "primary_metric": "accuracy",
    "metrics": {"accuracy": 0.9},
}


def test_each_change_is_sent(tmp_path: Path) -> None:
    """From before the run has begun until its report is there; the page and the report are served."""
    run = tmp_path / "run"
    with running(create_app(run)) as address, httpx.Client(base_url=address, timeout=30) as client:
        assert client.get("/report").status_code == 404
        assert "sensorium watch" in client.get("/").text
        with client.stream("GET", "/v1/events") as response:
            lines = response.iter_lines()

            def sent() -> dict:
                return json.loads(next(line for line in lines if line.startswith("data: ")).removeprefix("data: "))

            assert sent() == {"name": "run", "rows": [], "report": None}
            run.mkdir()
            append_history(run, {"step": 1.0, "loss": float("nan")})
            assert sent()["rows"] == [{"step": 1.0, "loss": None}]
            (run / "report.json").write_text(json.dumps({**REPORT, "config": {"secret": 1}}))
            (run / "report.html").write_text("<!doctype html><title>it</title>")
            found = sent()
        assert found["report"] == REPORT
        assert found == client.get("/v1/run").json()
        answer = client.get("/report")
        assert "<title>it</title>" in answer.text
        assert "script-src" not in answer.headers["content-security-policy"]


def test_a_damaged_report_is_none(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("")
    (tmp_path / "report.json").write_text("{")
    (tmp_path / "metrics.csv").write_text("step,loss\n1,0.5\n2,")
    assert state_of(tmp_path) == {"name": tmp_path.name, "rows": [{"step": 1.0, "loss": 0.5}], "report": None}


def test_only_who_knows_the_token_sees_it(tmp_path: Path) -> None:
    with running(create_app(tmp_path, token="hush")) as address, httpx.Client(base_url=address) as client:
        assert client.get("/v1/run").status_code == client.get("/v1/events").status_code == 401
        assert client.get("/v1/run", headers={"Authorization": "Bearer hush"}).status_code == 200
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
