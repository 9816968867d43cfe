"""What a row of the papers' tables is: the paper's figures, the commands, and what is counted of its model."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from sensorium.config import from_dict, override, to_dict
from sensorium.inference.costs import gigaflop
from sensorium.models import presets
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.training.plan import in_model

ROOT = Path(__file__).resolve().parents[2]
RUNS = "runs/papers"

Paper = Literal["Perceiver", "Perceiver IO"]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What a row is trained or evaluated on.

    Attributes:
        title: in words.
        layout: how it lies on disk, for the page.
        needs: what is needed to run a row on it, after "not run: needs".
    """

    title: str
    layout: str
    needs: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table.

    Attributes:
        title: as the paper calls it.
        figures: the paper's, one for each of the table's columns; empty: it states none.
        parameters, flop: the paper's, as it writes them; empty: it does not state them.
        name: on the command line, and of the run folder; rows of several tables that are one run share it. Empty: the
            row cannot be run here, and ``note`` says why.
        preset: whose model it is.
        settings, permute: how the model differs from the preset's.
        verb: the command that trains it.
        task: of ``pretrain``; empty: its own default.
        data: what it is trained on, a name in ``DATA_SETS``.
        then: further commands after the training; ``{run}`` is the run folder, and ``{sintel}`` that data set.
        of: the name of the row whose run is looked at; such a row trains nothing.
        published: the name of published weights, which can take the place of the training.
        trained: whether its arithmetic is that of the queries of a training step, and not of all of them.
        note: what else is to be said.
    """

    title: str
    figures: tuple[str, ...] = ()
    parameters: str = ""
    flop: str = ""
    name: str = ""
    preset: str = ""
    settings: tuple[str, ...] = ()
    permute: bool = False
    verb: Literal["train", "pretrain"] = "train"
    task: str = ""
    data: str = ""
    then: tuple[str, ...] = ()
    of: str = ""
    published: str = ""
    trained: bool = False
    note: str = ""

    @property
    def model(self) -> str:
        """What is counted, in a line: rows with the same line have the same counts. Empty: nothing is."""
        queries = ["(queries of a training step)"] if self.trained else []
        return " ".join([self.preset, *self.model_settings, *queries]) if self.preset else ""

    @property
    def model_settings(self) -> list[str]:
        """The settings that are not the recipe's."""
        return [setting for setting in self.settings if not setting.startswith("recipe.")]

    @property
    def run(self) -> str:
        """The run folder."""
        return f"{RUNS}/{self.of or self.name}"

    def training(self) -> list[str]:
        """The words of the command that trains."""
        words = ["sensorium", self.verb, self.data, "--preset", self.preset]
        words += ["--task", self.task] if self.task else []
        words += ["--permute"] if self.permute else []
        words += [word for setting in self.settings for word in ("--set", setting)]
        return [*words, "--out", self.run]

    def published_commands(self) -> list[list[str]]:
        """The words of the commands that score published weights instead of training; none: there are none."""
        if not self.published:
            return []
        then = self.then if self.verb == "train" else ()
        then = then or (f"sensorium evaluate {{run}} {self.data}",)
        run = f"{self.run}-published"
        words = [f"sensorium import {self.published} --out {{run}}", *then]
        return [shlex.split(command.replace("{run}", run)) for command in words]

    def commands(self) -> list[list[str]]:
        """The words of all its commands, one after the other; data sets stand there by their names."""
        then = [shlex.split(command.replace("{run}", self.run)) for command in self.then]
        return [*([] if self.of else [self.training()]), *then] if self.name else []


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, or a figure, of a paper.

    Attributes:
        number: such as "Table 1".
        title: in a few words.
        columns: what ``figures`` of its rows are.
        note: what is to be said of it.
        sizes: whether the rows and channels of the byte array are counted, and not parameters and arithmetic.
    """

    paper: Paper
    number: str
    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    note: str = ""
    sizes: bool = False


@dataclass(frozen=True)
class Counts:
    """What is counted of a model.

    Attributes:
        parameters: shared weights once.
        gigaflop: of one example's forward pass, multiplications and additions apart, in 10⁹.
        rows, channels: of the byte array.
    """

    parameters: int
    gigaflop: float
    rows: int
    channels: int


def config_of(row: Row) -> PerceiverConfig:
    """The configuration of a row's model, with the paper's classes. A permutation changes no count, and is left out."""
    values = override({"model": to_dict(presets.load(row.preset).model())}, in_model(row.model_settings))
    assert values.keys() == {"model"}, row.settings
    return from_dict(PerceiverConfig, values["model"], where=row.name)


def count(row: Row) -> Counts:
    """What is counted of a row's model; nothing is computed."""
    with torch.device("meta"):
        model = Perceiver(config_of(row))
    operations = round(gigaflop(model, trained=row.trained), 1)
    return Counts(model.parameter_count(), operations, model.inputs.num_rows, model.inputs.channels)
