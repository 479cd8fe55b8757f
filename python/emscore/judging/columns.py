"""What the judge said, as columns beside those of the input."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from .._emscore import InputError
from .asking import Judgement
from .prompts import Prompt

_TOP = pa.list_(pa.struct([("token", pa.string()), ("logprob", pa.float64())]))
_WORDS = pa.list_(pa.struct([("word", pa.string()), ("weight", pa.float64())]))

#: What was said about one row by the name of the prompt; None where there was no response.
Said = Mapping[str, Judgement] | None


def fields(prompts: Sequence[Prompt]) -> list[pa.Field]:
    """The columns that are added, for these prompts."""
    added = []
    for prompt in prompts:
        name = f"judge_{prompt.name}"
        added += [
            pa.field(name, pa.string() if prompt.words else pa.float64()),
            pa.field(f"{name}_weight", pa.float64()),
            pa.field(f"{name}_logprobs", _TOP),
        ]
        if prompt.words:
            added.append(pa.field(f"{name}_words", _WORDS))
    return added + [
        pa.field(f"judge_{name}", pa.string())
        for name in ("outcome", "model", "fingerprint", "score_type")
    ]


def schema(source: pa.Schema, prompts: Sequence[Prompt]) -> pa.Schema:
    """The input's columns and the added ones.

    A dictionary is written as its values, since an Arrow file holds but one dictionary a column.

    Raises:
        InputError: The input has a column that would be added.
    """
    added = fields(prompts)
    if taken := [field.name for field in added if field.name in source.names]:
        raise InputError(
            f"the input has {', '.join(taken)}: it was judged before; leave these columns out, or "
            "judge the file that it was made from"
        )
    plain = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in source
    ]
    return pa.schema([*plain, *added], source.metadata)


def extended(batch: pa.RecordBatch, said: Sequence[Said], to: pa.Schema) -> pa.RecordBatch:
    """The batch with what was said about its rows."""
    rows = [_row(row) for row in said]
    arrays = [
        batch[field.name].cast(field.type)
        if field.name in batch.schema.names
        else pa.array([row.get(field.name) for row in rows], field.type)
        for field in to
    ]
    return pa.record_batch(arrays, schema=to)


def _row(said: Said) -> dict[str, Any]:
    """The values of one row's added columns; what is left out is null."""
    if said is None:
        return {"judge_outcome": "empty"}
    row: dict[str, Any] = {}
    for name, judgement in said.items():
        reading, answer = judgement.reading, judgement.answer
        row[f"judge_{name}"] = reading.value
        row[f"judge_{name}_weight"] = reading.weight
        if answer is not None and answer.top:
            row[f"judge_{name}_logprobs"] = [
                {"token": token, "logprob": logprob} for token, logprob in answer.top
            ]
        if reading.words is not None:
            row[f"judge_{name}_words"] = [
                {"word": word, "weight": weight} for word, weight in reading.words.items()
            ]
    outcomes = [judgement.reading.outcome for judgement in said.values()]
    answers = [judgement.answer for judgement in said.values() if judgement.answer is not None]
    row["judge_outcome"] = next((each for each in outcomes if each != "ok"), "ok")
    if answers:
        row["judge_model"] = ", ".join(dict.fromkeys(answer.model for answer in answers))
        fingerprints = dict.fromkeys(a.fingerprint for a in answers if a.fingerprint)
        row["judge_fingerprint"] = ", ".join(fingerprints) or None
        row["judge_score_type"] = ", ".join(dict.fromkeys(j.kind for j in said.values() if j.kind))
    return row
