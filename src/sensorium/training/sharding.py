"""A model whose weights are sharded over the processes (FSDP2), and its tensors as a whole.

Each self-attention block is gathered when it is needed and freed afterwards. Gradients, optimizers and
the moving average exist only as shards. A sharded tensor (a DTensor) still means the whole one: norms, Muon's
orthogonalised matrices and LAMB's trust ratios are those of whole matrices, for which the processes exchange shards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from ..nn import SelfAttention

FORWARD = ("prepare", "embed", "encode", "queries", "decode")  # methods of a model that need its weights


def shard(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Shard the model in a module.

    Args:
        module: its child ``model`` is sharded; or it is the model.
        mesh: of the processes; its dimension ``data_parallel`` is used.
    """
    model = getattr(module, "model", module)
    processes = mesh["data_parallel"]
    for part in model.modules():
        if isinstance(part, SelfAttention):
            fully_shard(part, mesh=processes)
    fully_shard(model, mesh=processes)
    for name in FORWARD:
        register_fsdp_forward_method(model, name)
    return module


def is_sharded(module: nn.Module) -> bool:
    """Whether the processes hold parts of the module's weights."""
    return any(isinstance(parameter, DTensor) for parameter in module.parameters())


def whole(value: Any) -> Any:
    """A value as a checkpoint holds it: every tensor in it whole and on the CPU. All processes must call this.

    Args:
        value: tensors, dicts, lists and anything else, nested.
    """
    if isinstance(value, DTensor):
        value = value.full_tensor()
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(whole(item) for item in value)
    return value


def as_sharded(value: Any, like: Tensor) -> Any:
    """A whole tensor sharded as another one of its shape; anything else as it is."""
    if not isinstance(like, DTensor) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    value = value.to(like.device, like.dtype)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def local(tensor: Tensor) -> Tensor:
    """The shard of a tensor that this process holds; of a whole tensor, itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def load_whole(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load a state dict of whole tensors into a module that may be sharded."""
    state = module.state_dict()
    module.load_state_dict({name: as_sharded(tensor, state[name]) for name, tensor in tensors.items()})


def load_whole_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load an optimizer's state of whole tensors; its parameters may be sharded."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        number: {name: as_sharded(item, parameters[number]) for name, item in items.items()}
        for number, items in saved["state"].items()
    }
    optimizer.load_state_dict({**saved, "state": state})
