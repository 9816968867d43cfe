"""What is timed is what it says, at sizes that take no time; nothing here asserts a time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sensorium.nn.rows import reading
from torch.utils.flop_counter import FlopCounterMode

from sensorium.cli import main
from sensorium.config import to_yaml
from sensorium.errors import InputError
from sensorium.inference import bench, measuring
from sensorium.inference.measuring import Cost, Job, Measurement, Work, measure, measured_apart, race, ratios, refusal
from sensorium.modalities import ImageConfig, TextConfig
from sensorium.models.perceiver import PerceiverConfig
from sensorium.nn import Encoder, EncoderConfig, attention
from sensorium.nn.byte_array import ByteArray, Segment
from sensorium.tasks import ClassifyConfig

ENCODER = EncoderConfig(
    num_latents=4,
    latent_channels=16,
    cross_attention=(0, 1),
    latent_transformer=(0, 0),
    num_layers=1,
    num_self_attention_heads=2,
)


@pytest.fixture
def small(tmp_path: Path) -> str:
    """The file of a small model."""
    path = tmp_path / "small.yaml"
    config = PerceiverConfig(inputs=ImageConfig(bands=4), encoder=ENCODER, task=ClassifyConfig(classes=("a", "b")))
    path.write_text(to_yaml(config), "utf-8")
    return str(path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One repetition, in this process."""
    monkeypatch.setattr(measuring, "ENOUGH", 0.0)
    monkeypatch.setattr(bench, "measured_apart", lambda job: measure(bench.prepare(job)))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("batch", [1, 3])
def test_every_way_is_measured_beside_the_projected_one(small: str, batch: int) -> None:
    """Reads at every size by three paths, the model at the largest size, forward and step; checkpointing in steps."""
    heard: list[str] = []
    results = bench.compare((4, 8), rounds=2, batch=batch, model=small, tell=heard.append)
    jobs = [(result.job.what, result.job.name, result.job.size, result.job.stage) for result in results]
    forward = ["projected", "auto", "auto, bfloat16"]
    step = [*forward, "auto, checkpointing", "auto, bfloat16, checkpointing"]
    assert sorted(jobs) == sorted(
        [("read", path, size, stage) for path in bench.READ for size in (4, 8) for stage in ("forward", "step")]
        + [("model", name, 8, "forward") for name in forward]
        + [("model", name, 8, "step") for name in step]
    )
    assert all(result.measured is not None and result.measured.seconds > 0 for result in results)
    assert all(ratio is not None for ratio in ratios(results))
    assert sum("round 2 of 2" in line for line in heard) == len(results)
    measured = {(result.job.what, result.job.name, result.job.stage): result.measured for result in results}
    assert [way for way, each in measured.items() if each and each.products] == [("model", "auto", "forward")]
    off = {name: each.difference for (_, name, _), each in measured.items() if each and each.difference is not None}
    assert off["auto"] == 0
    assert 0 < off["projected"] < 1e-5
    assert 1e-5 < off["auto, bfloat16"] < 3e-2


def test_a_job_is_measured_in_a_process_of_its_own(small: str) -> None:
    """The child answers with figures, or its last word is the reason."""
    outcome = measured_apart(Job("read", "structured", 8, "step", model=small))
    assert isinstance(outcome, Measurement)
    assert outcome.peak > outcome.growth >= 0
    reason = measured_apart(Job("read", "structured", 8, "step", model="perciever-imagenet"))
    assert isinstance(reason, str)
    assert "did you mean 'perceiver-imagenet'" in reason


def test_contenders_take_turns_and_failures_end_theirs() -> None:
    """Round by round; a reason takes a contender out, a refusal before it starts."""
    turns: list[str] = []
    outcomes: dict[str, Callable[[], Measurement | str]] = {
        "projected": lambda: Measurement(seconds=float(len(turns)), peak=2, growth=1),
        "folded": lambda: "no memory",
        "auto": lambda: Measurement(seconds=1.0, peak=2, growth=1),
    }

    def measured_by(job: Job) -> Measurement | str:
        turns.append(job.contender)
        return outcomes[job.contender]()

    jobs = [Job("read", name, 8, "forward") for name in (*outcomes, "huge")]
    results = race(
        jobs,
        rounds=3,
        measured_by=measured_by,
        refused=lambda job: "too large" if job.contender == "huge" else None,
        tell=lambda text: None,
    )
    assert turns == ["projected", "folded", "auto", "projected", "auto", "projected", "auto"]
    assert [result.reason for result in results] == ["", "no memory", "", "too large"]
    assert ratios(results) == [1.0, None, 4.0, None]  # the median of 1, 4 and 6 seconds against 1


def test_what_does_not_fit_is_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory first, then time; 16 million rows fit the structured read only."""
    monkeypatch.setattr(measuring, "free_memory", lambda: 24 * 10**9)
    monkeypatch.setattr(measuring, "product_rate", lambda dtype: 1e11)
    assert "GB of memory, 24 GB are free" in (refusal(Cost(memory=1e12, flop=0)) or "")
    assert "the limit is 5" in (refusal(Cost(memory=0, flop=1e15)) or "")
    fits = [path for path in bench.READ if not refusal(bench.cost(Job("read", path, 4096, "forward")))]
    assert fits == ["structured"]
    assert all(refusal(bench.cost(Job("read", path, 64, "step"))) is None for path in bench.READ)


def test_latent_products_are_those_of_the_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their arithmetic, and that of the folded read over the rows, is all that torch counts."""
    monkeypatch.setattr(attention, "SMALL", {torch.float32: 2**30})  # of its own kernel torch counts nothing
    rows, channels = 64, 21
    encoder = Encoder(ENCODER, channels=channels)
    array = ByteArray((Segment("rows", torch.randn(1, rows, channels)),))
    with FlopCounterMode(display=False) as counter, reading("folded"):
        encoder(array)
    told = sum(product.flop for product in bench.latent_products(ENCODER, channels))
    over_rows = 2 * 2 * 2 * ENCODER.num_latents * rows * 24  # two reads, two products, padded channels
    assert told <= counter.get_total_flops() <= told + over_rows


def test_memory_is_counted_from_the_warm_up() -> None:
    """What a run allocates is growth; what was there before is not."""
    before = torch.ones(2**24)
    measured = measure(Work(run=lambda: torch.ones(2**23), warm_up=lambda: None))
    assert measured.peak > before.nbytes
    assert 2**24 < measured.growth < 2**26


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--sizes", "big"], "--sizes big: name sides"),
        (["--sizes", "0"], "--sizes 0: name sides"),
        (["--sizes", "64,"], "--sizes 64,: name sides"),
        (["--rounds", "0"], "--rounds 0: use at least 1"),
        (["--batch", "0"], "--batch 0: use at least 1"),
        (["--what", "world"], "--what world: use read or model"),
    ],
)
def test_bad_options_are_one_line(capsys: pytest.CaptureFixture[str], options: list[str], told: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", *options])
    assert stop.value.code == 2
    refusals = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sensorium: ")]
    assert len(refusals) == 1
    assert told in refusals[0]


def test_only_models_of_pictures_are_timed(tmp_path: Path) -> None:
    path = tmp_path / "text.yaml"
    config = PerceiverConfig(inputs=TextConfig(), encoder=ENCODER, task=ClassifyConfig(classes=("a", "b")))
    path.write_text(to_yaml(config), "utf-8")
    with pytest.raises(InputError, match="reads text; name a model that reads pictures"):
        bench.compare((8,), model=str(path))


@pytest.mark.usefixtures("quick")
def test_the_verb_prints_a_table_and_json(
    small: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compare = bench.compare
    monkeypatch.setattr(bench, "compare", lambda sizes, **options: compare(sizes, model=small, **options))
    main(["bench", "--sizes", "8", "--rounds", "1"])
    out, err = capsys.readouterr()
    assert "model, 8 × 8, forward" in out
    assert "the bare matrix products" in out
    assert "structured read" in err
    main(["bench", "--sizes", "8", "--rounds", "1", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 14
    assert all(row["measured"]["seconds"] > 0 and row["ratio"] > 0 for row in rows)


class TestPeers:
    """The benchmark against other people's libraries, at sizes that take no time."""

    @pytest.fixture
    def peers(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
        """benchmarks/peers.py with small encoders, in this process, its files in a folder of the test."""
        pytest.importorskip("transformers")
        pytest.importorskip("perceiver_pytorch")
        monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        import peers

        paper = peers.encoder_config
        monkeypatch.setattr(measuring, "ENOUGH", 0.0)
        monkeypatch.setattr(
            peers, "encoder_config", lambda what: replace(paper(what), num_latents=4, latent_channels=16, num_layers=1)
        )
        monkeypatch.setattr(peers, "measured_apart", lambda job, **_: measure(peers.prepare(job)))
        monkeypatch.setattr(peers, "RESULTS", tmp_path / "results.json")
        return peers

    def test_parts_are_merged_and_answers_agree(
        self, peers: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Two sizes one after the other; the same weights give the same answers in transformers."""
        for sizes in ("8", "4", "8"):
            monkeypatch.setattr(sys, "argv", ["peers.py", "--sizes", sizes, "--rounds", "1"])
            peers.main()  # type: ignore[attr-defined]
        rows = json.loads((tmp_path / "results.json").read_text("utf-8"))
        assert len(rows) == 2 * 2 * 2 * 3
        assert "one read, 8 × 8, forward, transformers: differs" in capsys.readouterr().out
        assert sum(row["measured"]["difference"] is not None for row in rows) == 2 * 3
        told = (tmp_path / "results.md").read_text("utf-8")
        assert "| 64 | transformers |" in told
        assert str(tmp_path) not in told
        assert (tmp_path / "rows.png").stat().st_size < 300_000
        assert {path.name for path in tmp_path.iterdir()} == {"results.json", "results.md", "rows.png"}

    def test_answers_that_differ_end_it_with_an_error(self, peers: object, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(peers, "difference", lambda *_: 0.1)
        monkeypatch.setattr(sys, "argv", ["peers.py", "--sizes", "4", "--rounds", "1"])
        with pytest.raises(SystemExit, match="answers differ"):
            peers.main()  # type: ignore[attr-defined]

    def test_bad_sizes_are_one_line(self, peers: object, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", ["peers.py", "--sizes", "huge"])
        with pytest.raises(SystemExit, match=r"peers\.py: --sizes huge: name sides"):
            peers.main()  # type: ignore[attr-defined]
