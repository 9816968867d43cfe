"""The command line: one verb for each thing a user does."""

from __future__ import annotations

import json as json_module
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from .errors import InputError

app = App(
    name="sensorium",
    help="General perception with iterative attention: one model, the Perceiver, for any signal.\n\n"
    "Every command takes --debug: a traceback instead of one line.",
    result_action="return_value",
    help_format="plaintext",
)

Settings = Annotated[tuple[str, ...], Parameter(name="--set", help="Change a value of the run, a.b=c; repeatable.")]
Split = Annotated[str, Parameter(help="train, val, test, or all of data that nothing was learned of.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Choices:
    """What may be chosen of a run before it is one; the names are those of ``planning.plan``.

    Attributes:
        preset: "auto" or a paper's model; see "sensorium presets".
        dataset: A dataset.yaml that describes the data.
        fold: The fold to test on, where the data has folds.
        minutes: Wall-clock limit of training.
        epochs: Limit of passes over the training examples.
    """

    preset: str = "auto"
    dataset: Path | None = None
    fold: str | None = None
    minutes: float | None = None
    epochs: float | None = None
    settings: Settings = ()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Training(Choices):
    """What may be chosen of a run that is begun; the names are those of ``runs.train``.

    Attributes:
        out: Run folder; runs/NAME by default.
        seed: Of everything random.
        resume: Go on with the interrupted run in OUT.
    """

    out: Path | None = None
    seed: int = 0
    resume: bool = False


@app.command
def inspect(
    data: Path,
    *,
    task: Literal["classify", "tag", "regress", "flow", "reconstruct", "mlm"] | None = None,
    choices: Choices = Choices(),
) -> None:
    """Say what is in the data, what would be trained on it and for how long.

    Args:
        data: Folder or file.
        task: What "sensorium train" or "sensorium pretrain" would be asked for.
    """
    from rich.console import Console
    from rich.table import Table

    from .config import to_yaml
    from .models.perceiver import Perceiver
    from .training.plan import plan

    planned = plan(data, task=task, **vars(choices))
    source, config = planned.source, planned.config
    model = Perceiver(config.model)
    console = Console(highlight=False, soft_wrap=True)
    kinds = ", ".join(f"{name} ({kind})" if name != kind else kind for name, kind in source.kinds.items())
    counted = f", {len(source.classes)} {_noun(source.task)}" if source.classes else ""
    console.print(f"[bold]{data}[/]: {kinds}; {config.model.task.kind}{counted}")
    table = Table(box=None, pad_edge=False)
    for heading in ("split", "examples", "per class"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for split, examples in source.splits.items():
        table.add_row(split, f"{len(examples):,}", _per_class(source.task, examples.targets))
    console.print(table)
    console.print(
        f"would train: {config.preset}, {model.parameter_count():,} parameters; {model.inputs.num_rows:,} rows × "
        f"{model.inputs.channels} channels into "
        f"{config.model.encoder.num_latents} latents × {config.model.encoder.latent_channels}"
    )
    if len(model.inputs.modalities) > 1:
        train = source.splits["train"]
        for modality in model.inputs.modalities:
            lacking = sum(raw is None for raw in train.raws[modality.name])
            missing = f"; {lacking:,} of {len(train):,} training examples lack it" if lacking else ""
            console.print(f"  {modality.name}: {modality.num_rows:,} rows × {modality.channels} channels{missing}")
    limits = [
        f"{config.recipe.epochs:g} epochs" if config.recipe.epochs is not None else "",
        f"{config.recipe.minutes:g} minutes" if config.recipe.minutes is not None else "",
    ]
    console.print(f"would take:  at most {' or '.join(limit for limit in limits if limit)}, whichever is first")
    for warning in source.warnings:
        console.print(f"[yellow]warning:[/] {warning}")
    console.print("\n[dim]# dataset.yaml as inferred; put it beside the data and change what is wrong[/]")
    console.print(to_yaml(source.description, sparse=True), markup=False, end="")


@app.command
def train(
    data: Path,
    *,
    task: Literal["classify", "tag", "regress", "flow"] | None = None,
    start: Annotated[Path | None, Parameter(name="--from")] = None,
    training: Training = Training(),
) -> None:
    """Train a model on the data and write a run folder with a report.

    Args:
        data: Folder or file.
        task: What is learned, where the data do not say; "flow" of pictures makes up motion.
        start: A run whose inputs and encoder are gone on with, such as one of "sensorium pretrain".
    """
    _train(data, task=task, start=start, **vars(training))


@app.command
def pretrain(
    data: Path,
    *,
    task: Literal["reconstruct", "mlm"] = "reconstruct",
    training: Training = Training(),
) -> None:
    """Train a model on data without labels, by what is hidden of them, and write a run folder with a report.
    Go on with "sensorium train DATA --from OUT".

    Args:
        data: Folder or file; labels are not looked at.
        task: Any signal's hidden rows, or the hidden words of texts.
    """
    _train(data, task=task, **vars(training))


def _train(data: Path, **chosen: Any) -> None:
    from .training import runs

    with _Display() as listener:
        result = runs.train(data, **chosen, listener=listener)
    _tell(result)


@app.command
def evaluate(
    run: Path,
    data: Path,
    *,
    split: Split = "test",
    without: tuple[str, ...] = (),
    dataset: Path | None = None,
    fold: str | None = None,
) -> None:
    """Evaluate a trained run on some data and write the report anew.

    Args:
        run: Run folder.
        data: Folder or file.
        without: A signal to take away from every example; repeatable.
        dataset: A dataset.yaml that describes the data.
        fold: The fold to test on, where the data has folds.
    """
    from .training import runs

    with _Display() as listener:
        result = runs.evaluate(run, data, split=split, without=without, dataset=dataset, fold=fold, listener=listener)
    _tell(result)


@app.command
def predict(
    run: Path, files: tuple[Path, ...], /, *, json: bool = False, top: int = 3, out: Path | None = None
) -> None:
    """Print the predictions of a trained run for files: a table, or a JSON object a line.

    Args:
        run: Run folder.
        files: One or more files.
        json: Print JSON lines.
        top: How many classes to name.
        out: Folder for predicted signals or motion; RUN/reconstructed or RUN/flow by default.
    """
    from .inference.predict import predict as predict_files

    rows = [answer.to_dict() for answer in predict_files(run, files, top=top, out=out)]
    if json:
        for row in rows:
            print(json_module.dumps(row, ensure_ascii=False))
        return
    _print_answers(rows)


@app.command
def explain(run: Path, files: tuple[Path, ...], /, *, out: Path | None = None, json: bool = False) -> None:
    """Show what a trained run reads of files: a page with maps over the signal, and the maps as arrays.

    Args:
        run: Run folder.
        files: One or more files.
        out: Folder for explanation.html and maps.npz; RUN/explained by default.
        json: Print JSON lines.
    """
    from .report.explanation import explain_files

    with _Display() as listener:

        def progress(done: int, total: int) -> None:
            if not done:
                listener.stage("explaining")
            listener.progress(done / total, {})

        explanation = explain_files(run, files, out=out, progress=progress)
    if json:
        for row in explanation.rows:
            print(json_module.dumps(row, ensure_ascii=False))
        return
    _print_answers(explanation.rows)
    if explanation.drawn < len(explanation.rows):
        print(f"drawn: the first {explanation.drawn} of {len(explanation.rows):,} examples; {explanation.maps} has all")
    print(f"explanation: {explanation.page}")


@app.command(name="import")
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
    from .models.published import import_published

    result = import_published(source, out=out, model=model, compat=compat)
    print(f"{result.checkpoint}: {result.parameters:,} parameters, {result.origin} weights, {result.compat} arithmetic")
    for note in result.notes:
        print(f"note: {note}")
    print(f"model: {result.folder}")


@app.command
def presets(*, json: bool = False) -> None:
    """List the papers' models with their parameters and the arithmetic of one example.

    Args:
        json: Print JSON lines.
    """

    from .inference import costs

    rows = costs.preset_costs()
    if json:
        for row in rows:
            print(json_module.dumps(row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("preset", "parameters", "GFLOP", "rows × channels", "about"):
        justify: Any = "right" if heading in ("parameters", "GFLOP") else "left"
        table.add_column(heading, justify=justify, no_wrap=heading != "about")
    table.add_row(
        "auto", "", "", "", "sizes, positions, augmentation and schedule chosen for the data and the time given"
    )
    for row in rows:
        shape = f"{row['rows']:,} × {row['channels']}"
        table.add_row(row["name"], f"{row['parameters']:,}", f"{row['gigaflop']:.1f}", shape, row["about"])
    width = None if sys.stdout.isatty() else 160  # in a file a preset has one line or two
    Console(highlight=False, width=width).print(table)


@app.command
def doctor(*, json: bool = False) -> None:
    """Say what this installation has, which path runs and why.

    Args:
        json: Print JSON lines.
    """
    from dataclasses import asdict

    from .inference.environment import examine

    facts = examine()
    if json:
        for fact in facts:
            print(json_module.dumps(asdict(fact), ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for style in ("", "bold", ""):
        table.add_column(style=style)
    for fact in facts:
        table.add_row(*map(Text, (fact.what, fact.state, fact.note)))  # brackets are no markup here
    Console(highlight=False).print(table)


@app.command
def bench(
    *,
    sizes: str = "64,224",
    rounds: int = 2,
    batch: int = 1,
    what: str = "read,model",
    json: bool = False,
) -> None:
    """Time one read at each size and the whole ImageNet model at the largest one, each way beside the dense one.

    Args:
        sizes: Sides of the picture in pixels, with commas between them.
        rounds: How often each contender has its turn; medians are told.
        batch: Examples at a time.
        what: "read", "model" or both.
        json: Print JSON lines.
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from .inference import bench as benchmark
    from .inference.measuring import ratios

    wanted, environment = benchmark.read_sizes(sizes), benchmark.environment()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("; ".join(f"{name} {value}" for name, value in environment.items()), markup=False)
    results = benchmark.compare(
        wanted,
        rounds=rounds,
        batch=batch,
        what=what.split(","),
        tell=lambda text: console.print(text, markup=False),
    )
    if json:
        for result, ratio in zip(results, ratios(results), strict=True):
            print(json_module.dumps({**asdict(result), "ratio": ratio, "environment": environment}))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "path"):
        table.add_column(heading, no_wrap=True)
    for heading in ("seconds", "× projected", "peak MB", "of which running", "off by"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result, ratio in zip(results, ratios(results), strict=True):
        table.add_row(result.job.title, result.job.name, *_figures(result, ratio))
    width = None if sys.stdout.isatty() else 120  # in a file, too, every figure is whole
    Console(highlight=False, width=width).print(table)
    for result in results:
        if result.measured is None:
            print(f"{result.job.title}, {result.job.name}: not run, {result.reason}")
        elif result.measured.products is not None:
            share = result.measured.products / result.measured.seconds
            print(
                f"{result.job.title}: the bare matrix products besides the reads take "
                f"{result.measured.products:.3g} s, {share:.0%} of {result.job.contender}"
            )


@app.command
def demo(*, out: Path = Path("runs/demo"), minutes: float = 0.7) -> None:
    """Train on handwritten digits, solids and tones with the same defaults; needs no download.

    Args:
        out: Folder for the data and the runs.
        minutes: Wall-clock limit of each of the three trainings.
    """
    from .training import demonstration

    with _Display() as listener:
        rows = demonstration.demo(out, minutes=minutes, listener=listener)
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("data", "signal", "trained on", "tested on", "accuracy", "parameters", "seconds"):
        table.add_column(heading, justify="left" if heading in ("data", "signal") else "right")
    for row in rows:
        table.add_row(*row.cells())
    Console(highlight=False).print(table)
    print(f"open {rows[0].report}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: one line and status 2 for what the user can mend, a traceback only with ``--debug``."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    tokens = [token for token in tokens if token != "--debug"]
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
        from .training.loop import Interrupted

        if isinstance(error, Interrupted):
            print(f"stopped and saved; go on with the same command and --resume --out {error.out}", file=sys.stderr)
            sys.exit(130)
        if debug:
            raise
        print(f"sensorium: {type(error).__name__}: {error} (a defect; --debug shows where)", file=sys.stderr)
        sys.exit(1)


class _Display:
    """A live bar with the time left and the latest figures; a line every few seconds where there is no terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self.text, self.began, self.printed = "", time.monotonic(), 0.0

    def __enter__(self) -> _Display:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.bar.start()
        self.job: Any = None
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def stage(self, text: str) -> None:
        if self.job is not None:
            self.bar.remove_task(self.job)
        self.job = self.bar.add_task(text, total=1.0, figures="")
        self.text, self.began, self.printed = text, time.monotonic(), time.monotonic()
        if not self.console.is_terminal:
            self.console.print(text, markup=False)

    def progress(self, share: float, figures: dict[str, float]) -> None:
        told = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self.bar.update(self.job, completed=share, figures=told)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.printed > 10:
            self.printed = now
            left = (now - self.began) * (1 - share) / max(share, 1e-9)
            self.console.print(f"  {self.text} {share:.0%}, {left:.0f} s left  {told}", markup=False)


def _tell(result: dict[str, Any]) -> None:
    """The figures of an evaluation, and where its report is."""
    figures = ", ".join(f"{name} {value:.4g}" for name, value in result["metrics"].items() if value is not None)
    print(f"{result['split']} ({result['samples']:,} examples): {figures}")
    print(f"report: {Path(result['folder']) / 'report.html'}")


def _print_answers(rows: Sequence[dict[str, Any]]) -> None:
    """A table of answers, the best first; where the model reads several modalities, with their shares of attention in
    the last cross-attend."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = max(len(_answer_cells(row)) for row in rows)
    modalities = sorted({name for row in rows for name in row.get("shares", [{}])[-1]})
    table = Table(box=None, pad_edge=False)
    table.add_column("file")
    for rank in range(columns):
        table.add_column("answer" if rank == 0 else "")
    for name in modalities:
        table.add_column(Text(f"{name} read"), justify="right")
    for row in rows:
        shares = row.get("shares", [{}])[-1]
        share_cells = [f"{shares[name]:.1%}" if name in shares else "–" for name in modalities]
        cells = [*_answer_cells(row), *[""] * columns][:columns]
        table.add_row(*map(Text, (row["file"], *cells, *share_cells)))  # as Text, in which brackets are no markup
    width = None if sys.stdout.isatty() else 1000  # in a file, an example has one line
    Console(highlight=False, width=width).print(table)


def _answer_cells(row: dict[str, Any]) -> list[str]:
    """An answer in cells: classes with their scores; a text, and the likeliest bytes of each of its holes; or the files
    that were written, and the classes of what is in them."""
    if "holes" in row:
        return [
            row["answer"],
            *("  ".join(f"{byte} {score:.3f}" for byte, score in hole.items()) for hole in row["holes"]),
        ]
    scores = row["scores"]
    cells = [f"{name} {score:.3f}" for name, score in (scores | row.get("label", {})).items()]
    has_files = not scores or "mean motion" in scores
    return [", ".join(row["answer"]), *cells] if has_files and row["answer"] else cells


def _figures(result: Any, ratio: float | None) -> tuple[str, ...]:
    if result.measured is None:
        return ("not run",)
    peak, growth = (f"{size / 1e6:,.0f}" for size in (result.measured.peak, result.measured.growth))
    off = "" if result.measured.difference is None else f"{result.measured.difference:.0e}"
    return f"{result.measured.seconds:.4g}", "" if ratio is None else f"{ratio:.2f}", peak, growth, off


def _noun(task: str) -> str:
    return {"classify": "classes", "tag": "tags", "regress": "numbers"}[task]


def _per_class(task: str, targets: Any) -> str:
    import numpy as np

    if task != "classify" or targets is None:
        return ""
    counts = np.unique(targets, return_counts=True)[1]
    return f"{counts.min():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"


if __name__ == "__main__":
    main()
