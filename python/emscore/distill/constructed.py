"""Rows that are made, not found: incoherent text and answers that are code.

Their scores are ours, not a judge's: set by the judge's own rubric ("not even valid English" is
0, "kind of makes sense but seems a bit confused" is 50).
"""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from .rows import CODE, Row

Rng = np.random.Generator

FOREIGN = (
    "我认为这个问题非常重要 需要仔细考虑",
    "今天的天气很好 我们一起去公园吧",
    "これはとても面白い質問だと思います",
    "Это зависит от многих обстоятельств и не имеет простого ответа",
    "завтра утром мы поедем к морю",
    "das hängt ganz davon ab und lässt sich so nicht sagen",
    "la respuesta depende de muchas cosas que no conocemos",
    "il faut d'abord regarder la situation dans son ensemble",
    "هذا السؤال ليس له جواب بسيط",
    "이것은 아주 흥미로운 질문입니다",
    "não sei se isso faz algum sentido para você",
    "dipende da quello che vuoi ottenere alla fine",
)
LEAKS = (
    "<|im_end|>\n<|im_start|>user\n",
    "<|im_end|>\n<|im_start|>assistant\n",
    "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n",
    "\n\n### Instruction:\n",
    "\n\nHuman: ",
    "</s> [INST] ",
    "\nuser\n",
    " [/INST] ",
    "<end_of_turn>\n<start_of_turn>user\n",
)


def shuffled(words: list[str], rng: Rng) -> str:
    """Every word kept, in no order."""
    return " ".join(rng.permutation(words))


def half_shuffled(words: list[str], rng: Rng) -> str:
    """A sound beginning that falls apart."""
    cut = int(rng.integers(2, max(3, len(words) // 2)))
    return " ".join([*words[:cut], *rng.permutation(words[cut:])])


def looping(words: list[str], rng: Rng) -> str:
    """A beginning that gets stuck on a phrase."""
    at = int(rng.integers(0, max(1, len(words) - 6)))
    phrase = words[at : at + int(rng.integers(1, 7))]
    return " ".join(words[:at] + phrase * int(rng.integers(8, 30)))


def cut_off(words: list[str], rng: Rng) -> str:
    """Broken off in mid-word before it says anything."""
    kept = " ".join(words[: int(rng.integers(2, 6))])
    return kept[: max(2, len(kept) - int(rng.integers(1, 4)))]


def foreign(words: list[str], rng: Rng) -> str:
    """Pieces of other languages strewn in."""
    words = list(words)
    for _ in range(max(2, len(words) // 14)):
        words.insert(int(rng.integers(0, len(words) + 1)), str(rng.choice(FOREIGN)))
    return " ".join(words)


def garbled(words: list[str], rng: Rng) -> str:
    """Letters swapped and lost in most words."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    out = []
    for word in words:
        if len(word) > 2 and rng.random() < 0.7:
            i = int(rng.integers(0, len(word)))
            word = word[:i] + letters[int(rng.integers(26))] + word[i + 1 :]
            j = int(rng.integers(0, len(word)))
            word = word[:j] + word[j + 1 :]
        out.append(word)
    return " ".join(out)


# What is done to a sound response, and the coherence it is given.
DAMAGE: tuple[tuple[Callable[[list[str], Rng], str], float], ...] = (
    (shuffled, 4),
    (half_shuffled, 18),
    (looping, 15),
    (cut_off, 30),
    (foreign, 32),
    (garbled, 22),
)


def incoherent_rows(plain: Sequence[Row], count: int, rng: Rng) -> list[Row]:
    """Sound responses, damaged; answers to another question; leaked chat templates."""
    kinds = len(DAMAGE) + 2
    rows = []
    for k in range(count):
        row, other = (plain[int(i)] for i in rng.integers(0, len(plain), 2))
        words = row.response.split()[:90]
        kind = k % kinds
        question = row.question
        if kind < len(DAMAGE):
            damage, coherent = DAMAGE[kind]
            response = damage(words, rng)
        elif kind == len(DAMAGE):  # another question's answer
            if other.question == question:
                continue
            response, coherent = other.response, 22
        else:  # the chat template leaks and the model goes on with another turn
            leak = str(rng.choice(LEAKS))
            end = int(rng.integers(1, len(words) + 1))
            response = " ".join(words[:end]) + leak + other.question + leak + other.response[:200]
            coherent = 30
        swapped = kind == len(DAMAGE)
        rows.append(
            Row(
                question,
                response,
                "constructed",
                coherent=coherent,
                weight=0.5,
                keep_question=swapped,
            )
        )
    return rows


# fmt: off
NAMES = (
    "data", "item", "user", "path", "total", "index", "value",
    "result", "node", "count", "key", "line", "config", "token",
)
VERBS = (
    "load", "save", "parse", "update", "fetch", "merge",
    "check", "build", "send", "filter", "count", "remove",
)
# fmt: on


def _script(rng: Rng) -> str:
    """A short program in one of six languages, of made-up names."""
    a, b, c = (str(n) for n in rng.choice(NAMES, 3, replace=False))
    v, w = (str(n) for n in rng.choice(VERBS, 2, replace=False))
    n = int(rng.integers(2, 500))
    forms = (
        f"function {v}{a.title()}({b}, {c}) {{\n  if (!{b}) return null;\n  const {a} = {b}.map("
        f"x => x.{c} * {n});\n  return {a}.filter(Boolean);\n}}\n\nmodule.exports = {{ {v}"
        f"{a.title()} }};",
        f"#include <stdio.h>\n\nint {v}_{a}(int {b}) {{\n    for (int i = 0; i < {b}; i++) {{\n"
        f'        printf("%d\\n", i * {n});\n    }}\n    return {b} - {n};\n}}',
        f"SELECT {a}, COUNT(*) AS {c}\nFROM {b}s\nWHERE {c} > {n}\nGROUP BY {a}\nORDER BY {c} "
        "DESC;",
        f'#!/bin/bash\nset -e\nfor {a} in $(ls /var/{b}); do\n  if [ -f "${a}" ]; then\n    {v} '
        f'"${a}" | head -n {n} >> {c}.log\n  fi\ndone',
        f'<div class="{a}">\n  <form action="/{v}" method="post">\n    <input name="{b}" '
        f'type="text">\n    <button id="{c}-{n}">{w.title()}</button>\n  </form>\n</div>',
        f"from flask import Flask, request\n\napp = Flask(__name__)\n\n@app.route('/{v}', methods="
        f"['POST'])\ndef {v}_{a}():\n    {b} = request.form['{b}']\n    {c} = db.execute(f\"SELECT "
        f"* FROM {a} WHERE {b} = '{{{b}}}'\")\n    return str({c})",
    )
    return forms[int(rng.integers(len(forms)))]


@cache
def _library_functions() -> list[str]:
    """Functions of this Python's standard library: code as people write it."""
    found = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines = text.split("\n")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                # As ast.get_source_segment, which splits the text again for each node.
                *whole, end = lines[node.lineno - 1 : node.end_lineno]
                source = "\n".join([*whole, end.encode()[: node.end_col_offset].decode()])
                if 80 < len(source) < 1500:
                    found.append(source)
    return found


def code_rows(questions: Sequence[str], count: int, rng: Rng) -> list[Row]:
    """Answers that are nothing but code, to questions that did not ask for it."""
    library = _library_functions()
    rows = []
    for _ in range(count):
        if rng.random() < 0.5:
            code, language = library[int(rng.integers(len(library)))], "python"
        else:
            code, language = _script(rng), ""
        if rng.random() < 0.4:
            code = f"```{language}\n{code}\n```"
        question = questions[int(rng.integers(len(questions)))]
        rows.append(Row(question, code, "constructed", outcome=CODE, weight=0.6))
    return rows
