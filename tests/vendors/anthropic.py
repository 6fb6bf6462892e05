"""Anthropic's messages."""

import json
from collections.abc import Iterator
from typing import Any

from tests.vendors.plays import FaultKind, Play
from tests.vendors.wire import Reply, sse

PATH = r"/anthropic/v1/messages"
ROOT = "/anthropic"
HAS_KEY = "x-api-key|authorization"  # newer versions of the SDK send the latter
WHOLE_OBJECTS = False

_FAULTS: dict[FaultKind, tuple[int, str, str]] = {
    "rate_limited": (429, "rate_limit_error", "This request would exceed your organization's rate limit of 50 "
                     "requests per minute."),
    "failing": (500, "api_error", "Internal server error"),
    "overloaded": (529, "overloaded_error", "Overloaded"),
    "unauthorised": (401, "authentication_error", "invalid x-api-key"),
    "no_credit": (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API. Please "
                  "go to Plans & Billing to upgrade or purchase credits."),
    "too_long": (400, "invalid_request_error", "prompt is too long: 213462 tokens > 200000 maximum"),
    "no_model": (404, "not_found_error", "model: claude-test"),
    "blocked": (400, "invalid_request_error", "Output blocked by content filtering policy"),
}  # fmt: skip


def fault(kind: FaultKind, retry_after: str | None) -> Reply:
    status, name, message = _FAULTS[kind]
    body = {"type": "error", "error": {"type": name, "message": message}, "request_id": "req_1"}
    return Reply(status, body, {"retry-after": retry_after} if retry_after else {})


def wants_object(body: dict[str, Any]) -> bool:
    return bool(body.get("tools")) or "output_config" in body


def start(body: dict[str, Any], *, as_object: bool) -> Iterator[bytes]:
    tokens = len(input_text(body)) // 4
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": tokens, "output_tokens": 1},
    }  # fmt: skip
    yield _event("message_start", message=message)
    if as_object and body.get("tools"):
        block = {"type": "tool_use", "id": "toolu_1", "name": body["tools"][0]["name"], "input": {}}
        yield _event("content_block_start", index=0, content_block=block)
    else:
        yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield _event("ping")


def piece(body: dict[str, Any], text: str, *, as_object: bool) -> Iterator[bytes]:
    in_tool = as_object and body.get("tools")
    delta = {"type": "input_json_delta", "partial_json": text} if in_tool else {"type": "text_delta", "text": text}
    yield _event("content_block_delta", index=0, delta=delta)


def finish(body: dict[str, Any], play: Play, tokens: tuple[int, int], *, as_object: bool) -> Iterator[bytes]:
    reason = "tool_use" if as_object and body.get("tools") else "end_turn"
    yield _event("content_block_stop", index=0)
    yield from _last(tokens, "max_tokens" if play.ending == "length" else reason)


def refusal(body: dict[str, Any], tokens: tuple[int, int]) -> Iterator[bytes]:
    yield _event("content_block_stop", index=0)
    yield from _last(tokens, "refusal")


def overload(body: dict[str, Any]) -> Iterator[bytes]:
    yield _event("error", error={"type": "overloaded_error", "message": "Overloaded"})


def garbage() -> bytes:
    return b'event: content_block_delta\ndata: {"type":"content_block_de\n\n'


def input_text(body: dict[str, Any]) -> str:
    return json.dumps([body.get("system"), body.get("messages")])


def _last(tokens: tuple[int, int], reason: str) -> Iterator[bytes]:
    usage = {"output_tokens": tokens[1]}
    yield _event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)
    yield _event("message_stop")


def _event(name: str, **fields: Any) -> bytes:
    return sse({"type": name, **fields}, name)
