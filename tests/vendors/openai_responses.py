"""OpenAI's responses, the newer interface; its errors are those of the chat completions."""

import json
from collections.abc import Iterator
from typing import Any

from tests.vendors import openai_chat
from tests.vendors.plays import FaultKind, Play
from tests.vendors.wire import Reply, sse

PATH = r"/openai-responses/v1/responses"
ROOT = "/openai-responses/v1"
HAS_KEY = "authorization"
WHOLE_OBJECTS = False


def fault(kind: FaultKind, retry_after: str | None) -> Reply:
    return openai_chat.fault(kind, retry_after)


def wants_object(body: dict[str, Any]) -> bool:
    return bool(body.get("tools")) or "format" in (body.get("text") or {})


def start(body: dict[str, Any], *, as_object: bool) -> Iterator[bytes]:
    yield _event("response.created", response=_response(body, "in_progress"))
    yield _event("response.output_item.added", output_index=0, item=_item(body, as_object=as_object))


def piece(body: dict[str, Any], text: str, *, as_object: bool) -> Iterator[bytes]:
    if as_object and body.get("tools"):
        yield _event("response.function_call_arguments.delta", item_id="item_1", output_index=0, delta=text)
    else:
        yield _event(
            "response.output_text.delta", item_id="item_1", output_index=0, content_index=0, delta=text, logprobs=[]
        )


def finish(body: dict[str, Any], play: Play, tokens: tuple[int, int], *, as_object: bool) -> Iterator[bytes]:
    usage = None if play.uncounted else _usage(tokens)
    if play.ending == "length":
        details = {"reason": "max_output_tokens"}
        response = {**_response(body, "incomplete"), "usage": usage, "incomplete_details": details}
        yield _event("response.incomplete", response=response)
    else:
        yield _event("response.completed", response={**_response(body, "completed"), "usage": usage})


def refusal(body: dict[str, Any], tokens: tuple[int, int]) -> Iterator[bytes]:
    words = "I'm sorry, I cannot assist with that request."
    yield _event("response.refusal.delta", item_id="item_1", output_index=0, content_index=0, delta=words)
    yield _event("response.refusal.done", item_id="item_1", output_index=0, content_index=0, refusal=words)
    yield from finish(body, Play(), tokens, as_object=False)


def overload(body: dict[str, Any]) -> Iterator[bytes]:
    error = {"code": "server_error", "message": "The server had an error"}
    yield _event("response.failed", response={**_response(body, "failed"), "error": error})


def garbage() -> bytes:
    return b'event: response.output_text.delta\ndata: {"type": "response.output\n\n'


def input_text(body: dict[str, Any]) -> str:
    return json.dumps([body.get("instructions"), body.get("input")])


def _item(body: dict[str, Any], *, as_object: bool) -> dict[str, Any]:
    if as_object and body.get("tools"):
        name = body["tools"][0]["name"]
        call = {"type": "function_call", "call_id": "call_1", "name": name, "arguments": ""}
        return {"id": "item_1", "status": "in_progress", **call}
    return {"id": "item_1", "status": "in_progress", "type": "message", "role": "assistant", "content": []}


def _usage(tokens: tuple[int, int]) -> dict[str, Any]:
    return {
        "input_tokens": tokens[0], "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": tokens[1], "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": sum(tokens),
    }  # fmt: skip


def _response(body: dict[str, Any], status: str) -> dict[str, Any]:
    return {
        "id": "resp_1", "object": "response", "created_at": 1_700_000_000, "status": status, "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "model": body["model"], "output": [],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": None,
    }  # fmt: skip


def _event(name: str, **fields: Any) -> bytes:
    return sse({"type": name, "sequence_number": 0, **fields}, name)
