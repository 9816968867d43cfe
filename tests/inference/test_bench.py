"""What is timed is what it says, at sizes that take no time; nothing here asserts a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sensorium.cli import main
from sensorium.config import to_yaml
from sensorium.errors import InputError
from sensorium.inference import bench
from sensorium.inference.bench import Job, Measurement, measure, measure_apart, race, ratios, refusal
from sensorium.inference.costs import Cost, encoder_cost
from sensorium.modalities import ImageConfig, TextConfig
from sensorium.models.perceiver import PerceiverConfig
from sensorium.nn import ByteArray, CrossAttention, EncoderConfig, Segment
from sensorium.nn.ops import AttentionInputs
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
    monkeypatch.setattr(bench, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(bench, "measure_apart", lambda job: measure(bench.prepare(job)))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("batch", [1, 3])
def test_every_path_is_measured_beside_the_projected_one(small: str, batch: int) -> None:
    """One cross-attend at every size and the model at the largest size, forward and step."""
    heard: list[str] = []
    results = bench.compare((4, 8), rounds=2, batch=batch, model=small, tell=heard.append)
    jobs = [(result.job.what, result.job.contender, result.job.size, result.job.stage) for result in results]
    stages = ("forward", "step")
    assert sorted(jobs) == sorted(
        [
            ("attention", path, size, stage)
            for path in ("projected", "absorbed", "structured")
            for size in (4, 8)
            for stage in stages
        ]
        + [("model", path, 8, stage) for path in ("projected", "auto") for stage in stages]
    )
    assert all(result.measured is not None and result.measured.seconds > 0 for result in results)
    assert all(ratio is not None for ratio in ratios(results))
    assert sum("round 2 of 2" in line for line in heard) == len(results)


def test_a_run_takes_the_path_of_its_job(small: str) -> None:
    """While it runs, and only then; a step computes gradients and leaves none."""
    block = CrossAttention(8, input_channels=4)
    taken: list[str] = []

    def forward() -> torch.Tensor:
        taken.append(block.path)
        return block(torch.rand(1, 2, 8), AttentionInputs(ByteArray((Segment("rows", torch.rand(1, 3, 4)),))))

    gradients: list[bool] = []
    block.query_norm.weight.register_hook(lambda gradient: gradients.append(bool(gradient.any())))
    for stage in ("forward", "step"):
        bench.runner(Job("attention", "projected", 8, stage), block, forward, path="projected")()  # type: ignore[arg-type]
    assert taken == ["projected", "projected"]
    assert block.path == "auto"
    assert gradients == [True]
    assert all(parameter.grad is None for parameter in block.parameters())


def test_a_job_is_measured_in_a_process_of_its_own(small: str) -> None:
    """The child answers with figures, or its last word is the reason."""
    outcome = measure_apart(Job("attention", "structured", 8, "step", model=small))
    assert isinstance(outcome, Measurement)
    assert outcome.peak > outcome.growth >= 0
    reason = measure_apart(Job("attention", "structured", 8, "step", model="perciever-imagenet"))
    assert isinstance(reason, str)
    assert "did you mean 'perceiver-imagenet'" in reason


def test_contenders_take_turns_and_failures_end_theirs() -> None:
    """Round by round; a reason takes a contender out, a refusal before it starts."""
    turns: list[str] = []
    outcomes: dict[str, Callable[[], Measurement | str]] = {
        "projected": lambda: Measurement(seconds=float(len(turns)), peak=2, growth=1),
        "absorbed": lambda: "no memory",
        "auto": lambda: Measurement(seconds=1.0, peak=2, growth=1),
    }

    def measured_by(job: Job) -> Measurement | str:
        turns.append(job.contender)
        return outcomes[job.contender]()

    jobs = [Job("attention", name, 8, "forward") for name in (*outcomes, "huge")]
    results = race(
        jobs,
        rounds=3,
        measured_by=measured_by,
        refused=lambda job: "too large" if job.contender == "huge" else None,
        tell=lambda text: None,
    )
    assert turns == ["projected", "absorbed", "auto", "projected", "auto", "projected", "auto"]
    assert [result.reason for result in results] == ["", "no memory", "", "too large"]
    assert ratios(results) == [1.0, None, 4.0, None]  # the median of 1, 4 and 6 seconds against 1


def test_what_does_not_fit_is_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory first, then time; 16 million rows fit structured attention only."""
    monkeypatch.setattr(bench, "free_memory", lambda: 24 * 10**9)
    monkeypatch.setattr(bench, "product_rate", lambda dtype: 1e11)
    assert "GB of memory, 24 GB are free" in (refusal(Cost(memory=1e12, flop=0)) or "")
    assert "the limit is 5" in (refusal(Cost(memory=0, flop=1e15)) or "")
    fits = [
        path for path in bench.PATHS["attention"] if not refusal(bench.cost(Job("attention", path, 4096, "forward")))
    ]
    assert fits == ["structured"]
    assert all(refusal(bench.cost(Job("attention", path, 64, "step"))) is None for path in bench.PATHS["attention"])


@pytest.mark.parametrize("training", [False, True])
def test_costs_grow_with_what_is_computed(training: bool) -> None:
    """Projecting 50,176 rows costs the paper's 43 GFLOP; absorbed attention less, structured attention least."""
    encoder = EncoderConfig(cross_attention=(0,), latent_transformer=(None,))
    inputs = ImageConfig(size=(224, 224), bands=64)
    costs = [
        encoder_cost(encoder, inputs, path=path, training=training)  # type: ignore[arg-type]
        for path in ("projected", "absorbed", "structured")
    ]
    assert costs[0].flop / (3.5 if training else 1) / 1e9 == pytest.approx(43.19, rel=0.05)
    assert costs[0].flop > costs[1].flop > costs[2].flop
    assert costs[0].memory > costs[1].memory > costs[2].memory
    many = encoder_cost(encoder, inputs, path="projected", training=training, batch=3)
    assert many.flop == pytest.approx(3 * costs[0].flop)


MEASURED = """
import torch
from sensorium.inference.bench import Work, measure
before = torch.ones(2**24)
measured = measure(Work(run=lambda: torch.ones(2**24), warm_up=lambda: None))
assert measured.peak > before.nbytes
assert 2**25 < measured.growth < 2**27, measured
"""


def test_memory_is_counted_from_the_warm_up() -> None:
    """What a run allocates is growth; what was there before is not. In a process of its own, as in ``sensorium bench``:
    one that has trained keeps what it frees."""
    subprocess.run([sys.executable, "-c", MEASURED], check=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sizes", "big"], "--sizes big: name sides"),
        (["--sizes", "0"], "--sizes 0: name sides"),
        (["--sizes", "64,"], "--sizes 64,: name sides"),
        (["--rounds", "0"], "--rounds 0: use at least 1"),
        (["--batch", "0"], "--batch 0: use at least 1"),
        (["--what", "world"], "--what world: use attention or model"),
    ],
)
def test_bad_options_are_one_line(capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", *options])
    assert stop.value.code == 2
    refusals = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sensorium: ")]
    assert len(refusals) == 1
    assert message in refusals[0]


def test_only_models_of_pictures_are_timed(tmp_path: Path) -> None:
    path = tmp_path / "text.yaml"
    config = PerceiverConfig(inputs=TextConfig(), encoder=ENCODER, task=ClassifyConfig(classes=("a", "b")))
    path.write_text(to_yaml(config), "utf-8")
    with pytest.raises(InputError, match="its inputs are text; name a model of pictures"):
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
    assert "attention, 8 × 8, step" in out
    assert "structured attention" in err
    main(["bench", "--sizes", "8", "--rounds", "1", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 10
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
        monkeypatch.setattr(bench, "MIN_SECONDS", 0.0)
        monkeypatch.setattr(
            peers, "encoder_config", lambda what: replace(paper(what), num_latents=4, latent_channels=16, num_layers=1)
        )
        monkeypatch.setattr(peers, "measure_apart", lambda job, **_: measure(peers.prepare(job)))
        monkeypatch.setattr(peers, "RESULTS", tmp_path / "results.json")
        return peers

    @pytest.mark.slow
    def test_parts_are_merged_and_answers_agree(
        self, peers: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Two sizes one after the other; the same weights give the same answers in transformers."""
        for sizes in ("8", "4", "8"):
            monkeypatch.setattr(sys, "argv", ["peers.py", "--sizes", sizes, "--rounds", "1"])
            peers.main()  # type: ignore[attr-defined]
        rows = json.loads((tmp_path / "results.json").read_text("utf-8"))
        assert len(rows) == 2 * 2 * 2 * 3
        assert "one cross-attend, 8 × 8, forward, transformers: differs" in capsys.readouterr().out
        assert sum(row["measured"]["difference"] is not None for row in rows) == 2 * 3
        report = (tmp_path / "results.md").read_text("utf-8")
        assert "| 64 | transformers |" in report
        assert str(tmp_path) not in report
        assert (tmp_path / "rows.png").stat().st_size < 300_000
        assert {path.name for path in tmp_path.iterdir()} == {"results.json", "results.md", "rows.png"}

    @pytest.mark.slow
    def test_answers_that_differ_end_it_with_an_error(self, peers: object, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(peers, "difference", lambda *_: 0.1)
        monkeypatch.setattr(sys, "argv", ["peers.py", "--sizes", "4", "--rounds", "1"])
        with pytest.raises(SystemExit, match="answers differ"):
            peers.main()  # type: ignore[attr-defined]

    def test_bad_sizes_are_one_line(self, peers: object, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", ["peers.py", "--sizes", "huge"])
        with pytest.raises(SystemExit, match=r"peers\.py: --sizes huge: name sides"):
            peers.main()  # type: ignore[attr-defined]
