"""OpenAI's chat completions, which many others speak too."""

import json
from collections.abc import Iterator
from typing import Any

from tests.vendors.plays import FaultKind, Play
from tests.vendors.wire import Reply, sse

PATH = r"/openai/v1/chat/completions"
ROOT = "/openai/v1"
HAS_KEY = "authorization"
WHOLE_OBJECTS = False

_FAULTS: dict[FaultKind, tuple[int, dict[str, Any]]] = {
    "rate_limited": (429, {
        "message": "Rate limit reached for gpt-test in organization org-x on requests per min (RPM): Limit 3, Used 3.",
        "type": "requests", "param": None, "code": "rate_limit_exceeded"}),
    "failing": (500, {
        "message": "The server had an error while processing your request. Sorry about that!",
        "type": "server_error", "param": None, "code": None}),
    "overloaded": (503, {
        "message": "The engine is currently overloaded, please try again later",
        "type": "server_error", "param": None, "code": "engine_overloaded"}),
    "unauthorised": (401, {
        "message": "Incorrect API key provided: sk-x. You can find your API key in your account.",
        "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}),
    "no_credit": (429, {
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}),
    "too_long": (400, {
        "message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 8227 "
        "tokens. Please reduce the length of the messages.",
        "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}),
    "no_model": (404, {
        "message": "The model `gpt-test` does not exist or you do not have access to it.",
        "type": "invalid_request_error", "param": None, "code": "model_not_found"}),
    "blocked": (400, {
        "message": "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
        "type": "invalid_request_error", "param": None, "code": "invalid_prompt"}),
}  # fmt: skip


def fault(kind: FaultKind, retry_after: str | None) -> Reply:
    status, error = _FAULTS[kind]
    return Reply(status, {"error": error}, {"retry-after": retry_after} if retry_after else {})


def wants_object(body: dict[str, Any]) -> bool:
    return bool(body.get("tools")) or "response_format" in body


def start(body: dict[str, Any], *, as_object: bool) -> Iterator[bytes]:
    yield _chunk(body, {"role": "assistant", "content": "", "refusal": None})
    if as_object and body.get("tools"):
        name = body["tools"][0]["function"]["name"]
        yield _call(body, {"id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}})


def piece(body: dict[str, Any], text: str, *, as_object: bool) -> Iterator[bytes]:
    if as_object and body.get("tools"):
        yield _call(body, {"function": {"arguments": text}})
    else:
        yield _chunk(body, {"content": text})


def finish(body: dict[str, Any], play: Play, tokens: tuple[int, int], *, as_object: bool) -> Iterator[bytes]:
    reason = "length" if play.ending == "length" else "tool_calls" if as_object and body.get("tools") else "stop"
    yield _chunk(body, {}, reason)
    if not play.uncounted and (body.get("stream_options") or {}).get("include_usage"):
        prompt, completion = tokens
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        yield sse({**_frame(body), "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def refusal(body: dict[str, Any], tokens: tuple[int, int]) -> Iterator[bytes]:
    yield _chunk(body, {"refusal": "I'm sorry, I cannot assist with that request."})
    yield from finish(body, Play(), tokens, as_object=False)


def overload(body: dict[str, Any]) -> Iterator[bytes]:
    yield sse({"error": {"message": "The server had an error", "type": "server_error", "param": None, "code": None}})


def garbage() -> bytes:
    return b'data: {"id": "chatcmpl-1", "object": "chat.comp\n\n'


def input_text(body: dict[str, Any]) -> str:
    return json.dumps(body.get("messages"))


def _frame(body: dict[str, Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": body["model"]}


def _chunk(body: dict[str, Any], delta: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return sse({**_frame(body), "choices": [choice], "usage": None})


def _call(body: dict[str, Any], call: dict[str, Any]) -> bytes:
    return _chunk(body, {"tool_calls": [{"index": 0, **call}]})
