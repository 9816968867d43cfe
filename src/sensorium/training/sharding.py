"""A model whose weights are sharded over the processes (FSDP2), and its tensors as a whole.

Each self-attention block is gathered when it is needed and freed afterwards. Gradients, optimizers and
the moving average exist only as shards. A sharded tensor (a DTensor) still means the whole one: norms, Muon's
orthogonalised matrices and LAMB's trust ratios are those of whole matrices, for which the processes exchange shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from ..models.perceiver import Perceiver
from ..models.tensor_files import TensorReader
from ..models.weights import WEIGHTS
from ..nn import SelfAttention
from ..nn.initialisation import empty_weights
from ..processes import is_main, is_sharded
from .state_file import StoredTensor

FORWARD = ("prepare", "embed", "encode", "queries", "decode")  # methods of a model that need its weights


def shard(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Shard the model in a module.

    Args:
        module: its child ``model`` is sharded; or it is the model.
        mesh: of the processes; its dimension ``data_parallel`` is used, where it has several.
    """
    model = getattr(module, "model", module)
    if is_sharded(model):
        return module
    processes = mesh["data_parallel"] if mesh.ndim > 1 else mesh
    for part in model.modules():
        if isinstance(part, SelfAttention):
            fully_shard(part, mesh=processes)
    fully_shard(model, mesh=processes)
    for name in FORWARD:
        register_fsdp_forward_method(model, name)
    return module


def sharded_like(model: nn.Module) -> Perceiver:
    """A copy of a sharded model, sharded as it is, for evaluation: nothing in it has a gradient."""
    with empty_weights():
        copy = Perceiver(cast(Perceiver, model).config).requires_grad_(False)
    shard(copy, next(shards(model)).device_mesh)
    for own, tensor in zip(_tensors(copy), _tensors(model), strict=True):
        local(own).copy_(local(tensor))
    return copy


def shards(module: nn.Module) -> Iterator[DTensor]:
    """The sharded parameters of a module."""
    return (parameter for parameter in module.parameters() if isinstance(parameter, DTensor))


def reshard(model: nn.Module) -> None:
    """Free what is gathered of a sharded model. After a forward pass without a backward pass, what is in no block stays
    gathered, and would not follow the shards."""
    for part in model.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def as_sharded(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor sharded as another one of its shape; one of another shape as it is."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    value = value.to(like.device, like.dtype)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def local(tensor: Tensor) -> Tensor:
    """The shard of a tensor that this process holds; of a whole tensor, itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def load_stored(module: nn.Module, tensors: Mapping[str, StoredTensor]) -> None:
    """Load a state dict, tensor by tensor, into a module that may be sharded."""
    for name, own in module.state_dict().items():
        own.copy_(as_sharded(tensors[name].read(), own))


def load_weights(module: nn.Module, folder: Path) -> None:
    """Load the weights in a run folder, tensor by tensor, into a model that may be sharded. All processes must call
    this; the main one reads.

    Raises:
        InputError: they cannot be read.
    """
    file = TensorReader(folder / WEIGHTS) if is_main() else None
    own = module.state_dict()
    load_stored(module, {name: StoredTensor(name, tensor.dtype, tensor.shape, file) for name, tensor in own.items()})


def load_stored_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load an optimizer's state, tensor by tensor; its parameters may be sharded."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        number: {
            name: as_sharded(item.read(), parameters[number]) if isinstance(item, StoredTensor) else item
            for name, item in items.items()
        }
        for number, items in saved["state"].items()
    }
    optimizer.load_state_dict({**saved, "state": state})


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]
