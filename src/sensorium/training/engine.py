"""The engine, Lightning Fabric: it finds the device, starts the other processes, and joins them. This is the only file
that imports it, and only when something is trained."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from lightning.fabric import Fabric
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.strategies.model_parallel import ModelParallelStrategy
from lightning.fabric.strategies.strategy import Strategy
from torch import nn

from ..processes import Launch, was_restarted
from .sharding import shard

__all__ = ["Curves", "Fabric", "distribute", "quiet_engine", "start"]

LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")  # of advertisements


def start(launch: Launch) -> Fabric:
    """Start the processes, or join those that a launcher such as torchrun has started.

    Where there are several and no launcher, the first one runs its own command again for each of the others, so all of
    them come here. With one process nothing is started.
    """
    with quiet_engine():
        if launch.processes > 1 and was_restarted():
            _join_anew()
        fabric = Fabric(accelerator="auto", devices=launch.devices, num_nodes=launch.nodes, strategy=_strategy(launch))
        fabric.launch()
    return fabric


def distribute(fabric: Fabric, model: nn.Module) -> None:
    """Move a model to the device that trains; or shard it, block by block, if the engine shards what trains."""
    if isinstance(fabric.strategy, ModelParallelStrategy):
        shard(model, fabric.strategy.device_mesh)
    else:
        model.to(fabric.device)


def _strategy(launch: Launch) -> Strategy | str:
    if launch.processes == 1:
        return "auto"
    if launch.strategy == "fsdp":
        return ModelParallelStrategy(
            shard, data_parallel_size=launch.processes, tensor_parallel_size=1, process_group_backend=_backend()
        )
    # A batch may lack a modality, and then the weights of it get no gradient.
    return DDPStrategy(find_unused_parameters=True, process_group_backend=_backend())


def _backend() -> str:
    """How the processes talk: small agreements between their Python need not wait for their devices."""
    return "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"


def _join_anew() -> None:
    """Join processes that torchrun has started again. Its store still has the addresses of the dead ones (torch 2.13),
    so this attempt writes under a name of its own."""
    environment = os.environ
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or torch.distributed.is_initialized():
        return
    distributed: Any = torch.distributed
    number, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    store = distributed.TCPStore(environment["MASTER_ADDR"], int(environment["MASTER_PORT"]), size, is_master=False)
    attempt = distributed.PrefixStore(f"attempt {environment['TORCHELASTIC_RESTART_COUNT']}", store)
    distributed.init_process_group(_backend(), store=attempt, rank=number, world_size=size)


@contextmanager
def quiet_engine() -> Iterator[None]:
    """Without the engine's advertisements and warnings; afterwards its loggers and all warnings are as before."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning|torch")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Curves:
    """The figures of a run for TensorBoard, where that is installed; otherwise nothing.

    Args:
        folder: the run folder; the curves are in its folder ``tensorboard``. None: nothing is written.
    """

    def __init__(self, folder: Path | None) -> None:
        self.logger: Any = None
        if folder is not None and find_spec("tensorboard") is not None:
            self.logger = TensorBoardLogger(root_dir=folder, name="", version="tensorboard")

    def add(self, row: dict[str, float]) -> None:
        """Add a point to each curve.

        Args:
            row: figures by name, ``step`` among them.
        """
        if self.logger is not None:
            figures = {name: value for name, value in row.items() if name != "step"}
            with suppress(OSError):  # a full disk: curves are not worth the run
                self.logger.log_metrics(figures, step=int(row["step"]))

    def close(self) -> None:
        """Write what is not written yet."""
        if self.logger is not None:
            with suppress(OSError):
                self.logger.finalize("success")
