"""One way to run the scorer's network that people use now; run by peers.py, a process each.

`prepare` writes the checkpoint that all of them load. It holds the weights of the fp16 file of a
scorer from plain.py, widened to float32, as a stock BertForSequenceClassification with 43 labels:
20 bins of aligned, 20 of coherent, 3 outcomes. That class puts a tanh layer between [CLS] and the
classifier, which the scorer does not have. Its weights are the identity over 2^14, and the
classifier's are multiplied by 2^14: there tanh(x) is x to 1e-7.
"""

import argparse
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Pairs: TypeAlias = Sequence[tuple[str, str]]
Logits: TypeAlias = npt.NDArray[np.float32]
Score: TypeAlias = Callable[[Pairs], Logits]

LABELS, MAX_TOKENS = 43, 512
SMALL = 2.0**-14
INT8 = "model_quint8_avx2.onnx"


def prepare(model: Path, folder: Path) -> None:
    """Writes checkpoint and tokenizer, and from them ONNX files as the peers make them."""
    import torch
    from optimum.onnxruntime import (  # type: ignore[import-not-found, unused-ignore]
        ORTModelForSequenceClassification,
    )
    from sentence_transformers import CrossEncoder, export_dynamic_quantized_onnx_model
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    weights = parameters(model / "model.fp16.onnx")
    words, width = weights["bert.embeddings.word_embeddings.weight"].shape
    layers = 1 + max(
        int(found[1]) for name in weights if (found := re.search(r"layer\.(\d+)", name))
    )
    config = BertConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=12,
        intermediate_size=4 * width,
        max_position_embeddings=MAX_TOKENS,
        num_labels=LABELS,
    )
    network = BertForSequenceClassification(config)
    state = {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
    missing, unknown = network.load_state_dict(state, strict=False)
    if missing or unknown:
        raise SystemExit(f"the scorer's network has another shape: {missing}, {unknown}")
    network.save_pretrained(folder)
    tokenizer = BertTokenizerFast(
        tokenizer_file=str(model / "tokenizer.json"), model_max_length=MAX_TOKENS
    )
    tokenizer.save_pretrained(folder)
    onnx = ORTModelForSequenceClassification.from_pretrained(folder, export=True)
    onnx.save_pretrained(folder / "onnx")
    encoder = CrossEncoder(str(folder), backend="onnx", device="cpu")
    export_dynamic_quantized_onnx_model(encoder, "avx2", str(folder))


def parameters(network: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The parameters in the scorer's fp16 file, by their names in BERT checkpoints."""
    import onnx
    from onnx import numpy_helper

    found = {
        each.name: numpy_helper.to_array(each).astype(np.float32)
        for each in onnx.load(network).graph.initializer
        if each.data_type == onnx.TensorProto.FLOAT16
    }
    embeddings = "bert.embeddings."
    named = {
        embeddings + "word_embeddings.weight": found.pop("words.weight"),
        embeddings + "position_embeddings.weight": found.pop("positions.weight"),
        embeddings + "token_type_embeddings.weight": found.pop("types.weight"),
        embeddings + "LayerNorm.weight": found.pop("norm.weight"),
        embeddings + "LayerNorm.bias": found.pop("norm.bias"),
        "classifier.weight": np.split(found.pop("heads.weight"), 2)[0].T / SMALL,
        "classifier.bias": found.pop("heads.bias"),
    }
    width = len(named[embeddings + "LayerNorm.bias"])
    named["bert.pooler.dense.weight"] = np.eye(width, dtype=np.float32) * np.float32(SMALL)
    named["bert.pooler.dense.bias"] = np.zeros(width, np.float32)
    theirs = {
        "out": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm2": "output.LayerNorm",
    }
    # Layers side by side in one matrix: "layers.0.qkv", "layers.5.key+layers.5.value".
    beside = {"qkv": ["query", "key", "value"]}
    for name, array in found.items():
        modules, _, kind = name.rpartition(".")
        index = modules.split(".")[1]
        parts = [module.split(".")[-1] for module in modules.split("+")]
        parts = beside.get(parts[0], parts)
        for part, piece in zip(parts, np.split(array, len(parts), axis=-1), strict=True):
            place = theirs.get(part, f"attention.self.{part}")
            named[f"bert.encoder.layer.{index}.{place}.{kind}"] = piece.T
    return named


def transformers_pytorch(folder: Path, batch: int) -> Score:
    """The text-classification pipeline of transformers."""
    from transformers import pipeline

    return through(pipeline("text-classification", model=str(folder), device="cpu"), batch)


def optimum_onnx(folder: Path, batch: int, file: str = "model.onnx") -> Score:
    """The same pipeline over ONNX Runtime, by optimum-onnx."""
    from optimum.onnxruntime import ORTModelForSequenceClassification, pipeline
    from transformers import AutoTokenizer

    model = ORTModelForSequenceClassification.from_pretrained(folder / "onnx", file_name=file)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return through(pipeline("text-classification", model=model, tokenizer=tokenizer), batch)


def optimum_onnx_int8(folder: Path, batch: int) -> Score:
    """Likewise, dynamically quantised."""
    return optimum_onnx(folder, batch, INT8)


def cross_encoder_pytorch(folder: Path, batch: int) -> Score:
    """CrossEncoder of sentence-transformers."""
    return cross_encoder(folder, batch)


def cross_encoder_onnx(folder: Path, batch: int) -> Score:
    """Likewise with its ONNX backend."""
    options = {"backend": "onnx", "model_kwargs": {"file_name": "onnx/model.onnx"}}
    return cross_encoder(folder, batch, **options)


def cross_encoder_onnx_int8(folder: Path, batch: int) -> Score:
    """Likewise, quantised by sentence-transformers' own export for AVX2."""
    options = {"backend": "onnx", "model_kwargs": {"file_name": f"onnx/{INT8}"}}
    return cross_encoder(folder, batch, **options)


def cross_encoder(folder: Path, batch: int, **options: Any) -> Score:
    """What the three have in common."""
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu", max_length=MAX_TOKENS, **options)

    def score(pairs: Pairs) -> Logits:
        logits = model.predict(
            list(pairs),
            batch_size=batch,
            activation_fn=torch.nn.Identity(),
            show_progress_bar=False,
        )
        return np.asarray(logits, np.float32)

    return score


def through(pipe: Any, batch: int) -> Score:
    """Pairs through a text-classification pipeline."""

    def score(pairs: Pairs) -> Logits:
        answers = pipe(
            [{"text": question, "text_pair": response} for question, response in pairs],
            batch_size=batch,
            top_k=None,
            function_to_apply="none",
            truncation="only_second",
            max_length=MAX_TOKENS,
        )
        logits = np.zeros((len(pairs), LABELS), np.float32)
        for row, labels in zip(logits, answers, strict=True):
            for each in labels:
                row[int(each["label"].removeprefix("LABEL_"))] = each["score"]
        return logits

    return score


PEERS = {
    "transformers-pytorch": transformers_pytorch,
    "cross-encoder-pytorch": cross_encoder_pytorch,
    "cross-encoder-onnx": cross_encoder_onnx,
    "cross-encoder-onnx-int8": cross_encoder_onnx_int8,
    "optimum-onnx": optimum_onnx,
    "optimum-onnx-int8": optimum_onnx_int8,
}


def main() -> None:
    """Prepares, or scores rows and prints the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["prepare", *PEERS])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rows", type=Path, help="JSON list of pairs")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--logits", type=Path, help="file to write")
    given = parser.parse_args()
    if given.what == "prepare":
        prepare(given.model, given.folder)
        return
    pairs = [(question, response) for question, response in json.loads(given.rows.read_text())]
    score = PEERS[given.what](given.folder, given.batch)
    score(pairs[: 2 * given.batch])
    began = time.perf_counter()
    logits = score(pairs)
    seconds = time.perf_counter() - began
    np.save(given.logits, logits)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
