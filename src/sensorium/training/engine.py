"""The engine, Lightning Fabric: it finds the device, starts the other processes, and joins them. This is the only file
that imports it, and only when something is trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
import torch.distributed
from lightning.fabric import Fabric
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.strategies.model_parallel import ModelParallelStrategy
from lightning.fabric.strategies.strategy import Strategy
from torch import nn

from ..errors import InputError, silenced
from ..files import replace_file
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


def quiet_engine() -> AbstractContextManager[None]:
    """Without the engine's advertisements and warnings; afterwards its loggers and all warnings are as before."""
    return silenced(LOGGERS, modules="lightning|torch")


class Curves:
    """The figures of a run for other programs to draw.

    Args:
        folder: the run folder. The curves of TensorBoard are in its folder ``tensorboard``, the files of Weights &
            Biases in ``wandb``. None: nothing is written.
        log: which of them are written: names in :data:`sensorium.training.logs.LOGS`.

    Raises:
        InputError: Weights & Biases does not start.
    """

    def __init__(self, folder: Path | None, log: Sequence[str] = ()) -> None:
        makers = {"tensorboard": _tensorboard, "wandb": _WeightsAndBiases}
        self.loggers: list[Any] = [] if folder is None else [makers[name](folder) for name in log]

    def add(self, row: dict[str, float]) -> None:
        """Add a point to each curve.

        Args:
            row: figures by name, ``step`` among them.
        """
        figures = {name: value for name, value in row.items() if name != "step"}
        for logger in self.loggers:
            with suppress(OSError):  # a full disk: curves are not worth the run
                logger.log_metrics(figures, step=int(row["step"]))

    def close(self) -> None:
        """Write what is not written yet."""
        for logger in self.loggers:
            with suppress(OSError):
                logger.finalize("success")


def _tensorboard(folder: Path) -> Any:
    return TensorBoardLogger(root_dir=folder, name="", version="tensorboard")


class _WeightsAndBiases:
    """A run there, with the methods of the engine's loggers. A resumed run goes on there, too."""

    def __init__(self, folder: Path) -> None:
        import wandb

        name_file = folder / "wandb" / "id.txt"
        if not name_file.exists():
            replace_file(name_file, lambda path: path.write_text(uuid4().hex, encoding="utf-8"))
        try:
            self.run = wandb.init(
                project="sensorium",
                name=folder.resolve().name,
                id=name_file.read_text("utf-8"),
                resume="allow",
                dir=folder,
                settings=wandb.Settings(silent=True),
            )
        except (wandb.Error, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(f"--log wandb: {reason}; run wandb login, or set WANDB_MODE=offline") from None

    def log_metrics(self, figures: dict[str, float], *, step: int) -> None:
        self.run.log(figures, step=step)

    def finalize(self, status: str) -> None:
        self.run.finish()
