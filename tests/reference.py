"""The papers' equations once more, in numpy and float64, written from the papers and not from our code.

Weights come as plain dicts of arrays: a linear is ``weight`` (outputs × inputs) and ``bias``, a norm is ``weight`` and
``bias``. Sources are tagged as in ``shared/reference/paper.md``: [P1] is the Perceiver, [P2] Perceiver IO, [C] the
authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import pi, sqrt

import numpy as np

Array = np.ndarray
Weights = Mapping[str, Array]


def below(weights: Weights, prefix: str) -> dict[str, Array]:
    """The weights whose names start with ``prefix.``, without it."""
    return {name[len(prefix) + 1 :]: array for name, array in weights.items() if name.startswith(prefix + ".")}


def linear(x: Array, weights: Weights) -> Array:
    return x @ weights["weight"].T + weights["bias"]


def layer_norm(x: Array, weights: Weights) -> Array:
    """Zero mean and unit variance over the last axis, then scale and shift; epsilon 1e-5 inside the root."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * weights["weight"] + weights["bias"]


def gelu(x: Array) -> Array:
    """The tanh approximation, which is what ``jax.nn.gelu`` computes."""
    return 0.5 * x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def heads_apart(x: Array, heads: int) -> list[Array]:
    """The channels of each head, one head after the other."""
    return np.split(x, heads, axis=-1)


def attention_weights(x: Array, inputs: Array, weights: Weights, *, heads: int, mask: Array | None = None) -> Array:
    """batch × heads × n × rows; zeros for an example without a valid key."""
    queries = heads_apart(linear(x, below(weights, "query")), heads)
    keys = heads_apart(linear(inputs, below(weights, "key")), heads)
    shares = []
    for query, key in zip(queries, keys, strict=True):
        logits = query @ key.swapaxes(-1, -2) / sqrt(query.shape[-1])
        if mask is not None:
            logits = np.where(mask[:, None, :], logits, -1e30)  # [C] attend()
        share = softmax(logits)
        if mask is not None:
            share = share * mask.any(axis=-1)[:, None, None]  # [C] wipe_attn
        shares.append(share)
    return np.stack(shares, axis=1)


def attention(x: Array, inputs: Array, weights: Weights, *, heads: int, mask: Array | None = None) -> Array:
    """Multi-head attention with projected keys and values; nothing to attend to sums to zeros."""
    values = heads_apart(linear(inputs, below(weights, "value")), heads)
    if inputs.shape[1] == 0:
        shape = (*np.broadcast_shapes(x.shape[:1], inputs.shape[:1]), x.shape[1])
        results = [np.zeros((*shape, value.shape[-1])) for value in values]
    else:
        shares = attention_weights(x, inputs, weights, heads=heads, mask=mask)
        results = [shares[:, head] @ value for head, value in enumerate(values)]
    return linear(np.concatenate(results, axis=-1), below(weights, "out"))


def mlp(x: Array, weights: Weights) -> Array:
    return linear(gelu(linear(x, below(weights, "0"))), below(weights, "2"))


def cross_attention(x: Array, rows: Array, weights: Weights, *, heads: int, mask: Array | None = None) -> Array:
    """A cross-attend: latents (batch × n × channels) attend to rows (batch × rows × channels)."""
    inputs = layer_norm(rows, below(weights, "input_norm"))
    query = layer_norm(x, below(weights, "query_norm"))
    x = x + attention(query, inputs, below(weights, "attention"), heads=heads, mask=mask)
    return x + mlp(layer_norm(x, below(weights, "mlp_norm")), below(weights, "mlp"))


def decoder(
    queries: Array,
    latents: Array,
    weights: Weights,
    *,
    heads: int,
    residual: bool,
    query_mask: Array | None = None,
) -> Array:
    """The decoder's cross-attend and its linear layer, where there is one; [C] wipes the sums of masked queries."""
    inside = below(weights, "cross_attention")
    inputs = layer_norm(latents, below(inside, "input_norm"))
    query = layer_norm(queries, below(inside, "query_norm"))
    projections = below(inside, "attention")
    if query_mask is None:
        x = attention(query, inputs, projections, heads=heads)
    else:
        bare = {**projections, "out.weight": np.eye(len(projections["value.bias"])), "out.bias": np.zeros(1)}
        x = linear(attention(query, inputs, bare, heads=heads) * query_mask[..., None], below(projections, "out"))
    x = queries + x if residual else x
    x = x + mlp(layer_norm(x, below(inside, "mlp_norm")), below(inside, "mlp"))
    return linear(x, below(weights, "linear")) if "linear.weight" in weights else x


def self_attention(x: Array, weights: Weights, *, heads: int) -> Array:
    """A self-attend of the latents."""
    inputs = layer_norm(x, below(weights, "query_norm"))
    x = x + attention(inputs, inputs, below(weights, "attention"), heads=heads)
    return x + mlp(layer_norm(x, below(weights, "mlp_norm")), below(weights, "mlp"))


def encode(
    rows: Array,
    weights: Weights,
    *,
    cross_attends: Sequence[int | None],
    latent_transformers: Sequence[int | None],
    layers: int,
    cross_heads: int,
    self_heads: int,
    mask: Array | None = None,
) -> Array:
    """The whole encoder: cross-attends and latent transformers in turn, the same number meaning the same weights."""
    x = np.repeat(weights["latents"][None], len(rows), axis=0)
    for cross, latent in zip(cross_attends, latent_transformers, strict=True):
        if cross is not None:
            x = cross_attention(x, rows, below(weights, f"cross_attention.{cross}"), heads=cross_heads, mask=mask)
        if latent is not None:
            for layer in range(layers):
                x = self_attention(x, below(weights, f"latent_transformer.{latent}.{layer}"), heads=self_heads)
    return x


def mean_head(latents: Array, weights: Weights) -> Array:
    """Average, then project ([P1] App. F)."""
    return linear(latents.mean(axis=1), below(weights, "linear"))


def fourier(positions: Array, *, bands: int, resolution: Sequence[float]) -> Array:
    """[C] generate_fourier_features: [positions, sines axis by axis, cosines axis by axis] along the last axis."""
    sines, cosines = [], []
    for axis, size in enumerate(resolution):
        for band in range(bands):
            frequency = 1 + (size / 2 - 1) * (band / (bands - 1) if bands > 1 else 0)
            sines.append(np.sin(pi * frequency * positions[..., axis]))
            cosines.append(np.cos(pi * frequency * positions[..., axis]))
    return np.concatenate([positions, np.stack(sines, -1), np.stack(cosines, -1)], axis=-1)


def grid(shape: Sequence[int]) -> Array:
    """The coordinates of a grid's points, rows in ``ij`` order: (-1, ..., 1) along each axis, both ends included."""
    axes = [np.array([-1 + 2 * place / (size - 1) if size > 1 else -1.0 for place in range(size)]) for size in shape]
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=-1)


class OptaxLamb:
    """optax: scale_by_adam, add_decayed_weights, scale_by_trust_ratio, scale(-rate), for one tensor."""

    def __init__(self, *, rate: float, decay: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-6) -> None:
        self.rate, self.decay, self.b1, self.b2, self.eps = rate, decay, b1, b2, eps
        self.count, self.mu, self.nu = 0, np.zeros(()), np.zeros(())

    def step(self, p: Array, gradient: Array) -> Array:
        self.count += 1
        self.mu = self.b1 * self.mu + (1 - self.b1) * gradient
        self.nu = self.b2 * self.nu + (1 - self.b2) * gradient**2
        mu, nu = self.mu / (1 - self.b1**self.count), self.nu / (1 - self.b2**self.count)
        update = mu / (np.sqrt(nu) + self.eps) + self.decay * p
        size, length = np.linalg.norm(p), np.linalg.norm(update)
        ratio = 1.0 if size == 0 or length == 0 else size / length
        return p - self.rate * ratio * update


def grid_attention(
    query: Array, tables: Array, values: Array, scale: Array, mask: Array | None, shape: Sequence[int]
) -> tuple[Array, Array, Array]:
    """Sums, marginals and log-sum of a softmax over a grid, with a logit for every latent and row.

    logit[n, m] = sum_k query[n, k] values[k, m] + scale[m] sum_axes table_axis[n, i_axis(m)].
    """
    begins = np.cumsum([0, *shape[:-1]])
    entries = begins[:, None] + np.indices(shape).reshape(len(shape), -1)  # axes × rows
    logits = np.einsum("bhnk,bkm->bhnm", query, values)
    for axis in range(len(shape)):
        logits = logits + scale[:, None, None, :] * tables[..., entries[axis]]
    shares, log_sum = shares_of(logits, mask)
    sums = np.einsum("bhnm,bkm->bhnk", shares, values)
    marginals = np.zeros_like(tables)
    for row in range(entries.shape[1]):
        for entry in entries[:, row]:
            marginals[..., entry] += shares[..., row] * scale[:, None, None, row]
    return sums, marginals, log_sum


def row_attention(query: Array, rows: Array, mask: Array | None) -> tuple[Array, Array]:
    """Sums and log-sum of a softmax over rows that are keys and values at once."""
    shares, log_sum = shares_of((query @ rows.swapaxes(-1, -2))[:, None], mask)
    return shares[:, 0] @ rows, log_sum[:, 0]


def shares_of(logits: Array, mask: Array | None) -> tuple[Array, Array]:
    """A softmax over the last axis of batch × heads × n × rows and its log-sum-exp: zeros and -inf for no row."""
    present = np.ones(logits.shape, bool) if mask is None else np.broadcast_to(mask[:, None, None], logits.shape)
    some = present.any(-1)
    peak = np.where(some, np.where(present, logits, -np.inf).max(-1, initial=-np.inf), 0.0)
    e = np.where(present, np.exp(np.where(present, logits - peak[..., None], 0.0)), 0.0)
    total = np.where(some, e.sum(-1), 1.0)
    return e / total[..., None], np.where(some, peak + np.log(total), -np.inf)
