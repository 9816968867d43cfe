"""The processes of a run: how many there are, which one this is, and what they tell each other.

With one process every function here returns what it is given. The main process is number 0: it alone writes, prints and
decides what depends on the clock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import torch.distributed
from torch import Tensor, nn

from .errors import InputError

Strategy: TypeAlias = Literal["auto", "ddp", "fsdp"]
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How many processes train, and what they share.

    Attributes:
        devices: processes on each node, each with a GPU of its own, or with the CPU where there is none.
        nodes: machines.
        strategy: ``ddp``: every process holds the whole model; ``fsdp``: parameters, gradients and optimizers are
            sharded over the processes; ``auto``: ``ddp``.
    """

    devices: int = 1
    nodes: int = 1
    strategy: Strategy = "auto"

    def __post_init__(self) -> None:
        for name in ("devices", "nodes"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} {getattr(self, name)}: use at least 1")

    @property
    def processes(self) -> int:
        """Of all nodes together."""
        return self.devices * self.nodes

    def as_started(self, environment: Mapping[str, str] = os.environ) -> Launch:
        """The processes that torchrun, Ray or another launcher has started, this one among them; where there are none,
        those that are asked for.

        Args:
            environment: the variables that such launchers set.

        Raises:
            InputError: more or fewer processes are asked for.

        >>> Launch().as_started({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"})
        Launch(devices=4, nodes=2, strategy='auto')
        """
        if "WORLD_SIZE" not in environment or "LOCAL_WORLD_SIZE" not in environment:
            return self
        started, own = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
        found = Launch(devices=own, nodes=started // own, strategy=self.strategy)
        if self.processes not in (1, found.processes):
            raise InputError(
                f"--devices {self.devices} --nodes {self.nodes}: {started} processes were started; leave both out"
            )
        return found


def refuse_several(command: str, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse processes that a launcher has started, for what one process does alone; all but the first end quietly.

    Args:
        command: what it is called.
        environment: the variables that such launchers set.

    Raises:
        InputError: there are several.
    """
    started = Launch().as_started(environment).processes
    if started == 1:
        return
    if environment.get("RANK", "0") != "0":
        raise SystemExit(2)
    raise InputError(f"{command} runs in one process, and {started} were started; start it without torchrun")


def was_restarted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun has started these processes anew, because one of those before died.

    Args:
        environment: the variables that it sets.
    """
    return environment.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def world_size() -> int:
    """How many processes there are."""
    return torch.distributed.get_world_size() if _several() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return torch.distributed.get_rank() if _several() else 0


def is_main() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def from_main(value: ValueT) -> ValueT:
    """The main process's value, in every process."""
    if not _several():
        return value
    values: list[Any] = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def decided_by_main(decide: Callable[[], ValueT]) -> ValueT:
    """What a function returns in the main process, which alone calls it, in every process. Where it fails there, the
    others end quietly."""
    outcome: tuple[ValueT, ...] = ()
    try:
        if is_main():
            outcome = (decide(),)
    finally:
        outcome = from_main(outcome)
    if not outcome:
        raise SystemExit(2)
    return outcome[0]


def from_all(value: ValueT) -> list[ValueT]:
    """The values of all processes, in every process, in the order of their numbers."""
    if not _several():
        return [value]
    values: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def total(tensor: Tensor) -> Tensor:
    """The sum of a tensor over the processes, in every process. It does not wait for the device."""
    if _several():
        tensor = tensor.clone()
        torch.distributed.all_reduce(tensor)
    return tensor


def as_in_main(tensors: list[Tensor]) -> None:
    """Give tensors the values that they have in the main process."""
    if _several():
        for tensor in tensors:
            torch.distributed.broadcast(tensor, src=0)


def is_sharded(module: nn.Module) -> bool:
    """Whether each process holds a part of the module's weights."""
    return any(map(is_dtensor, module.parameters()))


def is_dtensor(tensor: Tensor) -> bool:
    """Whether each process holds a part of the tensor."""
    return hasattr(tensor, "full_tensor")  # what only DTensors have: importing their class takes a second or two


def gathered(tensor: Tensor) -> Tensor:
    """A tensor as a whole and on the CPU. Of a sharded tensor all processes must call this."""
    if is_dtensor(tensor):
        tensor = tensor.full_tensor()  # type: ignore[attr-defined]
    return tensor.detach().cpu()


def end_unless_main(status: int) -> None:
    """End this process quietly, if it is not the main one, which says why.

    Args:
        status: of the exit.
    """
    if not is_main():
        raise SystemExit(status)


def only_main() -> None:
    """From here on the main process is alone: the others end."""
    if _several():
        number = rank()
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
        if number:
            raise SystemExit(0)


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
