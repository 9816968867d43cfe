"""The same data, seeds and minutes through several models: ``sensorium compare``.

Who takes part, and what each reads, is in :mod:`sensorium.training.contenders`; the rule of their sizes in
:mod:`sensorium.training.sizes`.

**The recipe** is that of the planned run for all: batch size, optimizer, learning rate, schedule, augmentation, epochs
and minutes. Muon, which ``auto`` takes, updates the matrices of Transformers; a ResNet has none, so AdamW updates it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..data import load_samples
from ..errors import InputError, did_you_mean
from ..files import replace_file
from ..inference.environment import processor_name
from ..modalities import build_modality
from ..models.perceiver import Perceiver
from ..report.comparison import RECORD, Entry, restore_entry, write_comparison
from ..report.summary import plain, to_json
from ..tasks.base import Task
from . import run
from .contenders import CONTENDERS, Batch, Contender
from .plan import Plan, plan, read_run_config
from .progress import Interrupted, Listener, Quiet
from .run_folder import CONFIG, HISTORY, LAST, REPORT, check_writable, read_history
from .sizes import RULE, Budget, Size, choose_size

CLASSICAL = "classical"
LONGEST = 200  # letters of a failure's message in the table

RULES = (
    RULE,
    "All are trained one after the other on the same splits, with the same seeds and the same recipe: batch size, "
    "optimizer, learning rate, schedule, augmentation, epochs and minutes. The time includes that of validation.",
    "ResNet and ViT read elements (pixels, samples, voxels) with Fourier features on their grid, Transformer and "
    "perceiver-pytorch the rows that the Perceiver without stem reads.",
    "The classical models and the most frequent class are those of sensorium's own report.",
)


def compare(
    data: str | Path,
    *,
    out: str | Path | None = None,
    only: Sequence[str] = (),
    seeds: int = 1,
    seed: int = 0,
    resume: bool = False,
    listener: Listener | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train several models on the data, each alone and in a run folder of its own, and write a table and a picture.

    What fails, or cannot read the data, has a line that says why; the others are trained all the same.

    Args:
        out: the folder of the comparison, with a run folder for each contender (``NAME``, and for further seeds
            ``NAME-seed-1``); ``comparisons/<name of the data>`` by default.
        only: names in ``CONTENDERS``; empty: all of them.
        seeds: how many seeds each contender is trained with: ``seed``, ``seed + 1``, … Splits that are drawn differ
            between seeds, but never between contenders.
        seed: the first one.
        resume: go on with the comparison in ``out``: with its own options, without training anew what is finished.
        listener: receives the progress.
        options: those of :func:`plan`: preset, task, minutes, epochs, settings, corrections of the data, …

    Returns:
        the content of ``comparison.json``, and the ``folder``.

    Raises:
        InputError: an argument or the data cannot be used.
        Interrupted: stopped by Ctrl-C or SIGTERM, after saving.
    """
    chosen = _chosen(only)
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: use at least 1")
    folder = Path("comparisons", Path(data).resolve().stem) if out is None else Path(out)
    stored = _stored(folder, resume=resume)
    if stored:
        seed, options = stored["seeds"][0], stored["options"]
    check_writable(folder)
    comparison = _Comparison(
        Path(data), folder, seeds=range(seed, seed + seeds), options=options, listener=listener or Quiet()
    )
    comparison.entries = {entry["name"]: restore_entry(entry) for entry in stored.get("contenders", ())}
    result: dict[str, Any] = {}
    for number, contender in enumerate(chosen, 1):
        comparison.title = comparison.title_of(contender, number, len(chosen))
        comparison.take_part(contender)
        result = comparison.write()
    return {**result, "folder": str(folder)}


def _chosen(only: Sequence[str]) -> list[Contender]:
    """The contenders of these names, in the order of the table; all of them where none is named.

    Raises:
        InputError: there is no such contender.
    """
    for name in only:
        if name not in CONTENDERS:
            raise InputError(f"--only {name}: there is no such contender; {did_you_mean(name, CONTENDERS)}")
    return [contender for name, contender in CONTENDERS.items() if name in only or not only]


def _stored(folder: Path, *, resume: bool) -> dict[str, Any]:
    """The record of the comparison in a folder; empty: there is none.

    Raises:
        InputError: there is one and it is not to be resumed, or there is none to resume.
    """
    path = folder / RECORD
    if path.exists() and not resume:
        raise InputError(f"{folder}: a comparison is here already; go on with --resume or choose another --out")
    if resume and not path.exists():
        raise InputError(f"{folder}: there is nothing to resume; compare without --resume")
    stored: dict[str, Any] = json.loads(path.read_text("utf-8")) if resume else {}
    return stored


class _Comparison:
    """A comparison on its way.

    Args:
        data, folder: as of :func:`compare`.
        seeds: of the runs of each contender.
        options: of :func:`plan`.
        listener: receives the progress.

    Attributes:
        entries: by the name of the contender.
        title: of the contender that is trained, for the progress.
    """

    def __init__(
        self, data: Path, folder: Path, *, seeds: range, options: Mapping[str, Any], listener: Listener
    ) -> None:
        self.data, self.folder, self.seeds, self.options, self.listener = data, folder, seeds, options, listener
        self.entries: dict[str, Entry] = {}
        self.title = ""
        self.plans: dict[int, Plan] = {}
        self.facts: dict[str, Any] = {}
        listener.stage("opening the data")
        self.planned = self.plan_of(seeds[0])
        listener.planned(self.planned)
        with torch.device("meta"):
            self.task: Task[Any, Any] = Perceiver(self.planned.config.model).task
        self.batch = self._batch()
        self._begin()

    def title_of(self, contender: Contender, number: int, total: int) -> str:
        """The contender for the progress: which it is, and how long those after it take at most."""
        minutes = self.planned.config.recipe.minutes
        left = "" if minutes is None else f", at most {(total - number) * len(self.seeds) * minutes:g} min after it"
        return f"{contender.name} ({number} of {total}{left if number < total else ''})"

    def plan_of(self, seed: int) -> Plan:
        """The data and the configuration of one seed."""
        if seed not in self.plans:
            self.plans[seed] = plan(self.data, seed=seed, **self.options)
        return self.plans[seed]

    def _batch(self) -> Batch:
        """A batch of training examples, to measure steps with."""
        config, train = self.planned.config, self.planned.source.splits["train"]
        modality = build_modality(config.model.inputs)
        count = min(config.recipe.batch_size, len(train))
        self.listener.stage("decoding a batch")
        samples = load_samples(train.select(range(count)).for_modality(modality), [modality])
        return samples.batch(range(len(samples)))

    def _begin(self) -> None:
        """Write what all contenders have in common, so that an interrupted comparison can be resumed."""
        source = self.planned.source
        split = next(name for name in ("test", "val", "train") if name in source.splits)
        self.facts = {
            "data": str(self.data),
            "split": split,
            "samples": len(source.splits[split]),
            "trained_on": len(source.splits["train"]),
            "seeds": list(self.seeds),
            "options": dict(self.options),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else processor_name(),
        }
        if not (self.folder / RECORD).exists():
            text = to_json(plain({**self.facts, "contenders": []}))
            replace_file(self.folder / RECORD, lambda path: path.write_text(text, encoding="utf-8"))

    # -- one contender

    def take_part(self, contender: Contender) -> None:
        """Train a contender with every seed, unless that is done; whatever goes wrong is its entry's note."""
        done = self.entries.get(contender.name)
        if done is not None and len(done.scores) >= len(self.seeds):
            return
        entry, stage = Entry(contender.name, contender.title), "not run"
        try:
            size = self._size(contender)
            cost = size.cost
            entry = replace(entry, note=size.note, parameters=cost.parameters, flop=cost.flop, peak=cost.peak)
            stage = "stopped"
            for seed in self.seeds:
                entry = self._with_run(entry, contender, size.index, seed)
        except InputError as error:
            entry = replace(entry, note=f"{stage}: {error}")
        except Interrupted:
            raise Interrupted(self.folder) from None
        except Exception as error:  # one that fails must not cost the others
            entry = replace(entry, note=f"failed: {type(error).__name__}: {' '.join(str(error).split())[:LONGEST]}")
        self.entries[contender.name] = entry

    def _size(self, contender: Contender) -> Size:
        """The size that a contender's run has already, or that the rule gives it."""
        candidates = contender.candidates(self.planned.config, self.batch)
        budget = Budget.of(self.planned.config, examples=len(self.planned.source.splits["train"]))
        self.listener.stage(f"{self.title}: measuring training steps")
        folder = self.folder / contender.name
        if (folder / LAST).exists() or (folder / REPORT).exists():
            encoder = read_run_config(folder).model.encoder
            for number, candidate in enumerate(candidates):
                if candidate.config.model.encoder == encoder:
                    return replace(choose_size([candidate], self.batch, budget), index=number)
        return choose_size(candidates, self.batch, budget)

    def _with_run(self, entry: Entry, contender: Contender, index: int, seed: int) -> Entry:
        """An entry with the run of another seed, which is trained or was trained before."""
        name = contender.name if seed == self.seeds[0] else f"{contender.name}-seed-{seed}"
        folder = self.folder / name
        if not (folder / REPORT).exists():
            planned = self.plan_of(seed)
            config = contender.candidates(planned.config, self.batch)[index].config
            self._train(folder, replace(planned, config=config), seed)
        report = json.loads((folder / REPORT).read_text("utf-8"))
        history = read_history(folder)
        scores = (*entry.scores, report["metrics"][report["primary_metric"]])
        count = len(entry.scores)
        return replace(
            entry,
            scores=scores,
            interval=(min(scores), max(scores)) if count else _interval(report),
            seconds=((entry.seconds or 0.0) * count + report["train_seconds"]) / (count + 1),
            epochs=((entry.epochs or 0.0) * count + (history[-1]["epoch"] if history else 0.0)) / (count + 1),
            parameters=report["parameters"],
            curves=(*entry.curves, _curve(history, self._curve_key())),
            folders=(*entry.folders, name),
        )

    def _train(self, folder: Path, planned: Plan, seed: int) -> None:
        """Train a run, or go on with one that was interrupted."""
        title = self.title if len(self.seeds) == 1 else f"{self.title}, seed {seed}"
        fresh = not (folder / LAST).exists()
        if fresh:  # what is left of a run that ended before it saved anything would be taken for its beginning
            for leftover in (CONFIG, HISTORY):
                with suppress(OSError):
                    (folder / leftover).unlink()
            check_writable(folder)
        else:
            planned = replace(planned, config=read_run_config(folder))
        run.run_plan(planned, folder, fresh=fresh, listener=_Named(title, self.listener))

    # -- all of them

    def _curve_key(self) -> str:
        return f"val_{self.task.primary_metric}" if "val" in self.planned.source.splits else "loss"

    def write(self) -> dict[str, Any]:
        """Write the table and the picture of what is known so far; returns the record."""
        entries = [self.entries[name] for name in CONTENDERS if name in self.entries]
        return write_comparison(
            self.folder,
            entries=[*entries, *self._classical(entries)],
            task=self.task,
            facts=self.facts,
            rules=RULES,
            on_validation=self._curve_key() != "loss",
        )

    def _classical(self, entries: Sequence[Entry]) -> list[Entry]:
        """The simple models that stand beside the first contender that was trained."""
        folders = [self.folder / entry.folders[0] for entry in entries if entry.folders]
        if not folders:
            return []
        report = json.loads((folders[0] / REPORT).read_text("utf-8"))
        simple = [(CLASSICAL, baseline) for baseline in report.get("baselines", ())]
        simple += [("majority", report["majority"])] if "majority" in report else []
        return [
            Entry(name, baseline["name"], scores=(score,), seconds=baseline["seconds"] or None)
            for name, baseline in simple
            if (score := baseline["metrics"].get(report["primary_metric"])) is not None
        ]


def _interval(report: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of a report's primary metric, where it has one."""
    if "accuracy_interval" not in report or report["primary_metric"] != "accuracy":
        return None
    low, high = report["accuracy_interval"]
    return low, high


def _curve(history: Sequence[Mapping[str, float]], key: str) -> tuple[tuple[float, float], ...]:
    """The (seconds, value) pairs of a run's history."""
    return tuple((row["seconds"], row[key]) for row in history if key in row)


class _Named:
    """Puts the contender's name before each stage, and leaves out what is the same for all."""

    def __init__(self, title: str, listener: Listener) -> None:
        self.title, self.listener = title, listener

    def stage(self, text: str) -> None:
        self.listener.stage(f"{self.title}: {text}")

    def progress(self, share: float, figures: dict[str, float]) -> None:
        self.listener.progress(share, figures)

    def planned(self, planned: Plan) -> None:
        """Say nothing: the data are the same for all."""
