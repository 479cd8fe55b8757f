"""Where a row has its question and its response: in columns, or in the last turns of a chat."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

#: Names that their columns may go by, after their own.
ALIASES = {
    "question": ("prompt", "question_text", "user"),
    "response": ("answer", "completion", "output", "generated_text"),
}

CHAT = "messages"  # column of chats
_ROLES = {"user": ("user", "human"), "assistant": ("assistant", "model", "gpt", "ai")}
_MEMBERS = ("role", "from"), ("content", "value")  # of a message, by their two usual names
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
_TEXT_PARTS = ("text", "input_text", "output_text")  # others are images and the like


def turns(chat: Sequence[dict[str, Any] | None] | None) -> tuple[str, str]:
    """The last answer, and the last message of the user before it; empty where there is none.

    >>> chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    >>> turns([*chat, {"role": "user", "content": "Bye"}])
    ('Hi', 'Hello')
    """
    said = [_message(turn) for turn in chat or () if turn is not None]
    answers = [at for at, (who, _) in enumerate(said) if who in _ROLES["assistant"]]
    before = said[: answers[-1]] if answers else said
    return _last(before, "user"), _last(said, "assistant")


def is_chat(kind: pa.DataType) -> bool:
    """Whether it is a list of messages with role and content, a text or a list of parts."""
    message = _members(kind)
    who, content = (message.get(names[0], message.get(names[1])) for names in _MEMBERS)
    return (
        content is not None
        and is_text(who)
        and (is_text(content) or all(is_text(_members(content).get(n)) for n in ("type", "text")))
    )


def is_text(kind: pa.DataType | None) -> bool:
    """Whether it is a type of strings, or of nothing at all."""
    if kind is None:
        return False
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(fits(value) for fits in _TEXTS)


def _last(turns: Sequence[tuple[str, Any]], role: str) -> str:
    content = next((said for who, said in reversed(turns) if who in _ROLES[role]), None)
    if isinstance(content, list):  # as the engine joins its parts
        parts = [part for part in content if part is not None and part["type"] in _TEXT_PARTS]
        return "\n".join(part["text"] or "" for part in parts)
    return content or ""


def _message(turn: dict[str, Any]) -> tuple[str, Any]:
    """Who says it, and what."""
    who, said = (turn.get(names[0], turn.get(names[1])) for names in _MEMBERS)
    return str(who).lower(), said


def _members(kind: pa.DataType) -> dict[str, pa.DataType]:
    """The types in the structs of a list, by name."""
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not listed or not pa.types.is_struct(kind.value_type):
        return {}
    return {field.name: field.type for field in kind.value_type}
