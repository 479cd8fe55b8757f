"""Text pairs to token ids, by the input template of the scorer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

MAX_TOKENS, MAX_QUESTION_TOKENS = 512, 128
CLS, SEP = 101, 102

Ids = np.ndarray[tuple[int], np.dtype[np.int64]]
Encoded = tuple[Ids, Ids]  # token ids and token types of one row


class Encoder:
    """[CLS] question [SEP] response [SEP], each clipped; token types 0 and 1."""

    def __init__(self, tokenizer: Path, max_tokens: int = MAX_TOKENS) -> None:
        from tokenizers import Tokenizer  # here, so that adapting can say that it is missing

        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.max_tokens = max_tokens
        self.question = lru_cache(maxsize=100_000)(self._question)

    def _question(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids[:MAX_QUESTION_TOKENS]

    def __call__(self, pairs: Iterable[tuple[str, str]]) -> list[Encoded]:
        """Encode (question, response) pairs."""
        pairs = list(pairs)
        answers = self.tokenizer.encode_batch_fast([r for _, r in pairs], add_special_tokens=False)
        rows = []
        for (question, _), answer in zip(pairs, answers, strict=True):
            head = [CLS, *self.question(question), SEP]
            tail = [*answer.ids[: max(0, self.max_tokens - 1 - len(head))], SEP]
            ids = np.array(head + tail, dtype=np.int64)
            rows.append((ids, (np.arange(len(ids)) >= len(head)).astype(np.int64)))
        return rows
