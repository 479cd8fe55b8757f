"""The network: an encoder read at [CLS] and over the response, with distributional heads.

In the last layer only [CLS] is computed, which saves about a seventh of MiniLM's work; the response
is read as the mean of what the layer before makes of its tokens.

A smaller network keeps some of the layers and is trained on: `kept_layers`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from .shape import (
    BINS,
    EPSILON,
    HEADS,
    POSITIONS,
    SIZES,
    VOCABULARY,
    Size,
    distance_buckets,
    layer_count,
)


def kept_layers(network: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The parameters of a network (a state dict), cut down to `layers` of its layers.

    The kept ones are evenly spaced and the last is always kept, since its output is what is read:
    of six, 2, 4 and 6 for three layers; 3 and 6 for two; 1, 3, 4 and 6 for four. Layers taken from
    a trained network are where a student best starts: Sanh et al. 2019 (arXiv:1910.01108); every
    other one is as good a choice as learnt ones: Fan et al. 2019 (arXiv:1909.11556).

    >>> sorted(kept_layers({"norm": 0, **{f"layers.{i}.up": i for i in range(6)}}, 3).items())
    [('layers.0.up', 1), ('layers.1.up', 3), ('layers.2.up', 5), ('norm', 0)]
    """
    count = layer_count(network)
    kept = {count * (k + 1) // layers - 1: k for k in range(layers)}
    found = {}
    for name, value in network.items():
        if name.startswith("layers."):
            _, at, rest = name.split(".", 2)
            if int(at) not in kept:
                continue
            name = f"layers.{kept[int(at)]}.{rest}"
        found[name] = value
    return found


class Layer(nn.Module):
    """One BERT layer, for all positions or for [CLS] alone."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm1, self.norm2 = (nn.LayerNorm(width, EPSILON) for _ in range(2))
        self.up, self.down = nn.Linear(width, size.inner), nn.Linear(size.inner, width)

    def forward(self, x: Tensor, mask: Tensor | None, cls_only: bool) -> Tensor:
        """`x` [n, s, width]; `mask` is what attention adds, or True where there is a token."""

        def heads(y: Tensor) -> Tensor:
            return y.view(*y.shape[:2], HEADS, y.shape[2] // HEADS).transpose(1, 2)

        read = x[:, :1] if cls_only else x
        if cls_only and mask is not None:
            mask = mask[:, :, :1]
        mixed = functional.scaled_dot_product_attention(
            heads(self.query(read)), heads(self.key(x)), heads(self.value(x)), attn_mask=mask
        )
        mixed = self.out(mixed.transpose(1, 2).flatten(2))
        read = self.norm1(read + mixed)
        return self.norm2(read + self.down(functional.gelu(self.up(read))))  # type: ignore[no-any-return]


class Network(nn.Module):
    """Token ids and types to logits: aligned, coherent [n, BINS] and outcome [n, 3]."""

    buckets: Tensor  # of distances

    def __init__(self, size: Size = SIZES["minilm"], layers: int = 0, dropout: float = 0.1) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, size.width)
        self.positions = nn.Embedding(POSITIONS, size.width)
        self.types = nn.Embedding(2, size.width)
        self.norm = nn.LayerNorm(size.width, EPSILON)
        self.distances = nn.Embedding(size.buckets, HEADS) if size.buckets else None
        if self.distances:
            buckets = torch.from_numpy(distance_buckets(size.buckets))
            self.register_buffer("buckets", buckets, persistent=False)
        self.layers = nn.ModuleList(Layer(size) for _ in range(layers or size.layers))
        self.dropout = nn.Dropout(dropout)
        read = 2 * size.width
        self.aligned, self.coherent = nn.Linear(read, BINS), nn.Linear(read, BINS)
        self.outcome = nn.Linear(read, 3)

    def forward(
        self, ids: Tensor, types: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`ids`, `types` [n, s]; `mask` [n, s], True where there is a token, or None."""
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.types(types)
        x = self.dropout(self.norm(x))
        wide = None if mask is None else mask[:, None, None, :]
        if self.distances:
            bias = self._distances(ids.shape[1])
            wide = bias if wide is None else bias.masked_fill(~wide, -torch.inf)
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            if i == last:  # types are 1 on the response and 0 on padding
                share = types.to(x.dtype) / types.sum(1, keepdim=True)
                mean = (share[:, None] @ x)[:, 0]
            x = layer(x, wide, cls_only=i == last)
        read = self.dropout(torch.cat([x[:, 0], mean], 1))
        return self.aligned(read), self.coherent(read), self.outcome(read)

    def _distances(self, tokens: int) -> Tensor:
        """What attention adds for the distance between two tokens, [1, HEADS, tokens, tokens]."""
        assert self.distances
        return self.distances(self.buckets[:tokens, :tokens]).permute(2, 0, 1)[None]
