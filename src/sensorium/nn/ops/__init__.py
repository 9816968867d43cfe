"""How attention is computed: one door, :func:`attention`, and behind it the ways to compute it and their operators."""

from .absorbed import AbsorbedQuery, DenseRows
from .compiled import name as compiled_name
from .dispatch import AttentionPath, attention, attention_weights, plan_attention
from .grid import GridAttention, grid_attention
from .inputs import AttentionInputs
from .rows import RowAttention, row_attention
from .structured import StructuredRows

__all__ = [
    "AbsorbedQuery",
    "AttentionInputs",
    "AttentionPath",
    "DenseRows",
    "GridAttention",
    "RowAttention",
    "StructuredRows",
    "attention",
    "attention_weights",
    "compiled_name",
    "grid_attention",
    "plan_attention",
    "row_attention",
]
