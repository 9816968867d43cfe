"""The command line: one verb for each thing a user does."""

from __future__ import annotations

import json as json_module
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import CycloptsError, Parameter

from ..errors import InputError, is_out_of_memory
from . import exports, serving
from .options import CompareOptions, DataOptions, ExplainOptions, PlanOptions, TrainOptions, Words
from .program import app, command

__all__ = ["app", "exports", "main", "serving"]


@command(1, "sensorium inspect data/birds", "sensorium inspect sales.csv --target price --ignore id")
def inspect(data: Path, *, task: str | None = None, options: PlanOptions = PlanOptions()) -> None:
    """Show what the data holds, what would be trained on it, and for how long.

    Args:
        data: A folder or a file.
        task: The task of "sensorium train" or "sensorium pretrain"; by default what the data is labelled with.
    """
    from ..training.plan import plan
    from .display import print_plan

    print_plan(data, plan(data, task=task, **vars(options)))


@command(
    2,
    "sensorium train data/birds --minutes 20",
    "sensorium train people.csv --target income --group family --class-weights balanced",
    "sensorium train accelerometer.npz --axes time,channels",
    "sensorium train data/birds --resume --out runs/birds",
)
def train(
    data: Path,
    *,
    task: str | None = None,
    start: Annotated[Path | None, Parameter(name="--from")] = None,
    options: TrainOptions = TrainOptions(),
) -> None:
    """Train a model on the data and write a run folder with a report.

    Args:
        data: A folder or a file.
        task: classify, tag, regress or flow, where the data does not say which. Flow of single pictures is learned of
            synthetic motion.
        start: A run, such as one of "sensorium pretrain", whose inputs and encoder are fine-tuned.
    """
    _train(data, task=task, start=start, options=options)


@command(4, "sensorium pretrain data/unlabelled --minutes 60", "sensorium train data/labelled --from runs/unlabelled")
def pretrain(data: Path, *, task: str = "reconstruct", options: TrainOptions = TrainOptions()) -> None:
    """Train a model on data without labels and write a run folder with a report. The model learns to predict the parts
    of each signal that are masked. Continue with "sensorium train DATA --from OUT".

    Args:
        data: A folder or a file; its labels are not used.
        task: reconstruct predicts masked rows of any signal, mlm masked words of text.
    """
    _train(data, task=task, options=options)


def _train(data: Path, *, task: str | None, options: TrainOptions, start: Path | None = None) -> None:
    from ..training import run
    from .display import Display, print_result

    with Display() as listener:
        result = run.train(data, task=task, start=start, **vars(options), listener=listener)
    print_result(result)


@command(
    5,
    "sensorium evaluate runs/birds data/birds",
    "sensorium evaluate runs/birds data/other-birds",
    "sensorium evaluate runs/films data/films --without audio",
)
def evaluate(
    run: Path,
    data: Path,
    *,
    split: str | None = None,
    without: Words = (),
    dataset: Path | None = None,
    fold: str | None = None,
    device: str = "auto",
) -> None:
    """Evaluate a trained run on some data and write a report: into RUN/evaluations, unless it is the run's own test
    split.

    Args:
        run: A run folder.
        data: A folder or a file.
        split: train, val, test or all; by default test, or all where other data has no test split.
        without: The name of a signal to take away from every example; repeatable.
        dataset: A dataset.yaml that describes the data; by default the model's inputs and classes are looked for in it.
        fold: The fold to test on, where the data has folds.
        device: Where it is computed: cpu, cuda, cuda:1 or the like; by default on a GPU where there is one.
    """
    from ..training import run as runs
    from .display import Display, print_result

    with Display() as listener:
        result = runs.evaluate(
            run, data, split=split, without=without, dataset=dataset, fold=fold, device=device, listener=listener
        )
    print_result(result)


@command(
    6,
    "sensorium predict runs/birds photo.jpg",
    "sensorium predict runs/birds photos/ -o answers.csv",
    "sensorium predict runs/income people.csv --json --strict",
)
def predict(
    run: Path,
    files: tuple[Path, ...],
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    strict: bool = False,
    json: bool = False,
    top: int = 3,
    device: str = "auto",
) -> None:
    """Say what a trained run makes of files: a table, or a JSON object a line.

    What cannot be read is named and set aside; with --strict, or where nothing can be read, it is an error.

    Args:
        run: Run folder.
        files: Files, or folders: every file below them. Of tables and arrays, every row or example is answered.
        out: A table to write: a file that ends in .csv, .parquet or .jsonl. Or the folder for answers that are signals
            or motion; RUN/reconstructed or RUN/flow by default.
        strict: Refuse examples that cannot be read, columns that are missing, categories that training did not have and
            numbers far outside of its range; otherwise they are remarks.
        json: Print JSON lines.
        top: How many classes to name; a table that is written has all.
        device: Where it is computed: cpu, cuda, cuda:1 or the like; by default on a GPU where there is one.
    """
    from .answers import show_predictions

    show_predictions(run, list(files), out=out, strict=strict, json=json, top=top, device=device)


@command(
    7,
    "sensorium explain runs/birds photo.jpg",
    "sensorium explain runs/birds photo.jpg --method all",
    "sensorium explain runs/birds photo.jpg --latents 1-16 --before-softmax",
)
def explain(
    run: Path,
    files: tuple[Path, ...],
    /,
    *,
    out: Path | None = None,
    json: bool = False,
    device: str = "auto",
    options: ExplainOptions = ExplainOptions(),
) -> None:
    """Show where a trained run attends in files, and what speaks for the class that it predicts: a page with maps over
    the signal, and the maps as arrays.

    Args:
        run: Run folder.
        files: One or more files.
        out: Folder for explanation.html and maps.npz; RUN/explained by default.
        json: Print JSON lines.
        device: Where it is computed: cpu, cuda, cuda:1 or the like; by default on a GPU where there is one.
    """
    from .explanations import show_explanations

    show_explanations(run, files, out=out, json=json, device=device, options=options)


@command(
    8,
    "sensorium compare data/birds --minutes 20",
    "sensorium compare data/birds --only sensorium --only resnet --seeds 3",
)
def compare(data: Path, *, task: str | None = None, options: CompareOptions = CompareOptions()) -> None:
    """Train other models on the same data with the same seeds and minutes, one after the other, and write a table and
    the learning curves: the Perceiver without stems, ResNet-50, ViT and Transformer as in the paper, perceiver-pytorch,
    and the classical model of every report.

    Args:
        data: A folder or a file.
        task: classify, tag or regress, where the data does not say which.
    """
    from ..training.compare import compare
    from .display import Display
    from .tables import print_comparison

    with Display() as listener:
        result = compare(data, task=task, **vars(options), listener=listener)
    print_comparison(result)


@command(11, "sensorium shard data/birds shards/birds", "sensorium shard films.csv shards/films --size 1000")
def shard(
    data: Path, out: Path, *, size: float = 256, task: str | None = None, options: DataOptions = DataOptions()
) -> None:
    """Write any data set as WebDataset shards, with its splits and labels: few large files instead of many small ones.

    Args:
        data: A folder or a file.
        out: A new folder for the shards.
        size: Megabytes of a shard.
        task: The task of "sensorium train" or "sensorium pretrain"; by default what the data is labelled with.
    """
    from .shards import shard_data

    shard_data(data, out, megabytes=size, task=task, options=options)


@command(12, "sensorium import deepmind/vision-perceiver-conv --out runs/conv", name="import")
def import_(
    source: str, /, *, model: str | None = None, compat: Literal["hf", "jax"] | None = None, out: Path | None = None
) -> None:
    """Make a published Perceiver IO checkpoint a model that every command takes.

    Args:
        source: A folder or file of transformers' or of the authors', or a name on the Hugging Face hub.
        model: Which checkpoint it is, where its names do not tell: learned, fourier, conv, bytes, kinetics or flow.
        compat: Whose arithmetic: transformers' (hf) or the authors' (jax); that of the source by default.
        out: Folder for the model; runs/PRESET by default.
    """
    from ..models.published import import_published

    result = import_published(source, out=out, model=model, compat=compat)
    print(f"{result.checkpoint}: {result.parameters:,} parameters, {result.origin} weights, {result.compat} arithmetic")
    for note in result.notes:
        print(f"note: {note}")
    print(f"model: {result.folder}")


@command(13, "sensorium presets")
def presets(*, json: bool = False) -> None:
    """List the papers' models with their parameters and the floating point operations of one example.

    Args:
        json: Print JSON lines.
    """
    from ..inference import costs

    rows = costs.preset_costs()
    if json:
        for row in rows:
            print(json_module.dumps(row))
        return
    from .tables import print_presets

    print_presets(rows)


@command(15, "sensorium doctor")
def doctor(*, json: bool = False) -> None:
    """Say what this installation consists of, and which ways of computation it can use.

    Args:
        json: Print JSON lines.
    """
    from dataclasses import asdict

    from ..inference.environment import examine

    facts = examine()
    if json:
        for fact in facts:
            print(json_module.dumps(asdict(fact), ensure_ascii=False))
        return
    from .tables import print_facts

    print_facts(facts)


@command(14, "sensorium bench --sizes 224 --rounds 2")
def bench(
    *,
    sizes: str = "64,224",
    rounds: int = 2,
    batch: int = 1,
    what: str = "attention,model",
    json: bool = False,
) -> None:
    """Time cross-attention at each size, and the whole ImageNet model at the largest one, by each way to compute it.

    Args:
        sizes: Sides of the picture in pixels, with commas between them.
        rounds: Turns of each way; the result is the median.
        batch: Pictures at a time.
        what: "attention", "model" or both.
        json: Print JSON lines.
    """
    from .timings import print_timings

    print_timings(sizes, rounds=rounds, batch=batch, what=what.split(","), json=json)


@command(16, "sensorium demo")
def demo(*, out: Path = Path("runs/demo"), minutes: float = 0.7) -> None:
    """Train on handwritten digits, solids and tones with the same defaults; nothing is downloaded.

    Args:
        out: The folder for the data and the runs.
        minutes: Stop each of the three trainings after this many minutes.
    """
    from ..training import demonstration
    from .display import Display, print_demo

    with Display() as listener:
        rows = demonstration.demo(out, minutes=minutes, listener=listener)
    print_demo(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: one line and status 2 for what the user can mend, a traceback only with ``--debug``."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    tokens = [token for token in tokens if token != "--debug"]
    if not debug:
        warnings.filterwarnings("ignore", module="PIL")  # of odd pictures, which are decoded all the same
    try:
        app(tokens, exit_on_error=False, print_error=False)
    except (InputError, CycloptsError) as error:
        if debug:
            raise
        print(f"sensorium: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("sensorium: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        from ..training.progress import Interrupted

        if isinstance(error, Interrupted):
            print(f"stopped and saved; go on with the same command and --resume --out {error.out}", file=sys.stderr)
            sys.exit(130)
        if debug:
            raise
        if is_out_of_memory(error):
            print(
                "sensorium: there is not enough memory for this; use smaller data or a smaller model", file=sys.stderr
            )
            sys.exit(2)
        print(f"sensorium: {type(error).__name__}: {error} (a defect; --debug shows where)", file=sys.stderr)
        sys.exit(1)
