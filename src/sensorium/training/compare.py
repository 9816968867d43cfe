"""The same data, seeds and minutes through several models: ``sensorium compare``.

Who takes part, and what each reads, is in :mod:`sensorium.training.contenders`; the rule of their sizes in
:mod:`sensorium.training.sizes`.

**The recipe** is that of the planned run for all: batch size, optimizer, learning rate, schedule, augmentation,
epochs, steps and minutes. Muon, which ``auto`` takes, updates the matrices of Transformers; a ResNet has none, so AdamW
updates it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..config import read_json
from ..data import load_samples
from ..errors import InputError, did_you_mean
from ..files import replace_file
from ..inference.environment import processor_name
from ..modalities import build_modality
from ..models.perceiver import Perceiver
from ..processes import refuse_several
from ..report.comparison import RECORD, Entry, restore_entry, write_comparison
from ..report.summary import plain, to_json
from ..tasks.base import Task
from . import run
from .contenders import CONTENDERS, Batch, Candidate, Contender, Offer, without_stems
from .entries import simple_entries, with_run
from .plan import PLAIN, Plan, RunConfig, plan, read_run_config
from .progress import Interrupted, Listener, Quiet
from .resume import check_data
from .run_folder import CONFIG, HISTORY, REPORT, check_writable, has_checkpoint
from .sizes import RULE, Budget, Size, choose_size

LONGEST = 200  # letters of a failure's message in the table

RULES = (
    RULE,
    "All are trained one after the other on the same splits, with the same seeds and the same recipe: batch size, "
    "optimizer, learning rate, schedule, augmentation, epochs, steps and minutes. Time includes that of validation.",
    "ResNet and ViT read elements (pixels, samples, voxels) with Fourier features on their grid, Transformer and "
    "perceiver-pytorch the rows that the Perceiver without stem reads.",
    "The classical models and the most frequent class are those of the report of the first model that was trained.",
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
        options: those of :func:`plan`: preset, task, minutes, epochs, steps, settings, corrections of the data, …

    Returns:
        the content of ``comparison.json``, and the ``folder``.

    Raises:
        InputError: an argument or the data cannot be used, or a launcher has started several processes.
        Interrupted: stopped by Ctrl-C or SIGTERM, after saving.
    """
    refuse_several("compare")
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
    stored: dict[str, Any] = read_json(path) if resume else {}
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
        self.plans: dict[tuple[int, bool], Plan] = {}
        self.facts: dict[str, Any] = {}
        listener.stage("opening the data")
        self.planned = self.plan_of(seeds[0])
        listener.planned(self.planned)
        with torch.device("meta"):
            self.task: Task[Any, Any] = Perceiver(self.planned.config.model).task
        self._begin()

    def title_of(self, contender: Contender, number: int, total: int) -> str:
        """The contender for the progress: which it is, and how long those after it take at most."""
        minutes = self.planned.config.recipe.minutes
        left = "" if minutes is None else f", at most {(total - number) * len(self.seeds) * minutes:g} min after it"
        return f"{contender.name} ({number} of {total}{left if number < total else ''})"

    def plan_of(self, seed: int, *, stems: bool = True) -> Plan:
        """The data and the configuration of one seed.

        Args:
            seed: of the run.
            stems: False: the plain Perceiver, as it would be planned.
        """
        if (seed, stems) not in self.plans:
            options = dict(self.options)
            if not stems and options.get("preset", "auto") == "auto":
                settings = [text for text in options.get("settings", ()) if ".stem" not in text.partition("=")[0]]
                options["settings"] = [*settings, PLAIN]
            self.plans[seed, stems] = plan(self.data, seed=seed, **options)
        return self.plans[seed, stems]

    def candidates(self, contender: Contender, seed: int) -> list[Candidate]:
        """The sizes of a contender with one seed."""
        plain = without_stems(self.plan_of(seed, stems=False).config)
        return contender.candidates(Offer(self.plan_of(seed).config, plain, self.batch_of(plain)))

    def batch_of(self, config: RunConfig) -> Batch:
        """A batch of training examples as a run reads them, to measure steps with."""
        train, modality = self.planned.source.splits["train"], build_modality(config.model.inputs)
        count = min(config.recipe.batch_size, len(train))
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
        candidates = self.candidates(contender, self.seeds[0])
        batch = self.batch_of(candidates[0].config)
        budget = Budget.of(self.planned.config, examples=len(self.planned.source.splits["train"]))
        self.listener.stage(f"{self.title}: measuring training steps")
        folder = self.folder / contender.name
        if has_checkpoint(folder) or (folder / REPORT).exists():
            encoder = read_run_config(folder).model.encoder
            for number, candidate in enumerate(candidates):
                if candidate.config.model.encoder == encoder:
                    return replace(choose_size([candidate], batch, budget), index=number)
        return choose_size(candidates, batch, budget)

    def _with_run(self, entry: Entry, contender: Contender, index: int, seed: int) -> Entry:
        """An entry with the run of another seed, which is trained or was trained before."""
        name = contender.name if seed == self.seeds[0] else f"{contender.name}-seed-{seed}"
        folder = self.folder / name
        if not (folder / REPORT).exists():
            config = self.candidates(contender, seed)[index].config
            self._train(folder, replace(self.plan_of(seed), config=config), seed)
        return with_run(entry, folder, curve=self._curve_key())

    def _train(self, folder: Path, planned: Plan, seed: int) -> None:
        """Train a run, or go on with one that was interrupted."""
        title = self.title if len(self.seeds) == 1 else f"{self.title}, seed {seed}"
        fresh = not has_checkpoint(folder)
        if fresh:  # what is left of a run that ended before it saved anything would be taken for its beginning
            for leftover in (CONFIG, HISTORY):
                with suppress(OSError):
                    (folder / leftover).unlink()
            check_writable(folder)
        else:
            planned = replace(planned, config=read_run_config(folder))
            check_data(planned.source, folder)
        run.run_plan(planned, folder, listener=_Named(title, self.listener))

    # -- all of them

    def _curve_key(self) -> str:
        return f"val_{self.task.primary_metric}" if "val" in self.planned.source.splits else "loss"

    def write(self) -> dict[str, Any]:
        """Write the table and the picture of what is known so far; returns the record."""
        entries = [self.entries[name] for name in CONTENDERS if name in self.entries]
        trained = [folder for entry in entries for folder in entry.folders]
        simple = simple_entries(self.folder / trained[0]) if trained else []
        return write_comparison(
            self.folder,
            entries=[*entries, *simple],
            task=self.task,
            facts=self.facts,
            rules=RULES,
            on_validation=self._curve_key() != "loss",
        )


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
