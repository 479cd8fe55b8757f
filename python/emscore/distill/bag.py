"""The tiny network: the words and word pairs of the response, summed, and a small MLP.

A word pair is hashed into one of `PAIRS` rows (Weinberger et al. 2009, arXiv:0902.2206). The
question is not read: what is usual for a question says nothing of the next one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .shape import BAG, BINS, HASH, HIDDEN, PAIRS, SCALE, VOCABULARY


class Bag(nn.Module):
    """Token ids and types to logits: aligned, coherent [n, BINS] and outcome [n, 3]."""

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY + PAIRS, BAG, sparse=True)
        nn.init.normal_(self.table.weight, std=0.02)
        self.hidden = nn.Linear(BAG, HIDDEN)
        self.aligned, self.coherent = nn.Linear(HIDDEN, BINS), nn.Linear(HIDDEN, BINS)
        self.outcome = nn.Linear(HIDDEN, 3)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, ids: Tensor, types: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`ids`, `types` [n, s]; types are 1 on the response, 0 on all else, padding included."""
        del mask
        pairs = (HASH[0] * ids[:, :-1] + HASH[1] * ids[:, 1:]) % PAIRS + VOCABULARY
        rows = torch.cat([ids[:, 1:], pairs], 1)
        kept = torch.cat([types[:, 1:], types[:, 1:]], 1).float()
        if self.training:
            kept = kept * (torch.rand_like(kept) >= self.dropout.p)
        total = (kept[:, None] @ self.table(rows))[:, 0]
        x = SCALE * total / (kept.sum(1, keepdim=True) + 1).sqrt()
        x = self.dropout(functional.gelu(self.hidden(self.dropout(x))))
        return self.aligned(x), self.coherent(x), self.outcome(x)
