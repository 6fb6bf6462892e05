"""Google's generateContent, streamed."""

import json
from collections.abc import Iterator
from typing import Any

from tests.vendors.plays import FaultKind, Play
from tests.vendors.wire import Reply, sse

PATH = r"/google/v1beta/models/[^/]+:streamGenerateContent"
ROOT = "/google"
HAS_KEY = "x-goog-api-key"
WHOLE_OBJECTS = True  # the arguments of a call come in one piece

_FAULTS: dict[FaultKind, tuple[int, str, str]] = {
    "rate_limited": (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    "failing": (500, "INTERNAL", "An internal error has occurred."),
    "overloaded": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "unauthorised": (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    "no_credit": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing."),
    "too_long": (400, "INVALID_ARGUMENT", "The input token count (1091639) exceeds the maximum number of tokens "
                 "allowed (1048576)."),
    "no_model": (404, "NOT_FOUND", "models/gemini-test is not found for API version v1beta."),
}  # fmt: skip
_TYPE = "type.googleapis.com/google.rpc."


def fault(kind: FaultKind, retry_after: str | None) -> Reply:
    if kind == "blocked":  # Google answers 200 and says why there is no candidate
        return Reply(200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})
    status, name, message = _FAULTS[kind]
    details: list[dict[str, Any]] = []
    if kind == "unauthorised":
        details.append({"@type": _TYPE + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"})
    if kind == "no_credit":
        violation = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "quotaValue": "250"}
        details.append({"@type": _TYPE + "QuotaFailure", "violations": [violation]})
    if retry_after:
        details.append({"@type": _TYPE + "RetryInfo", "retryDelay": f"{retry_after}s"})
    return Reply(status, {"error": {"code": status, "message": message, "status": name, "details": details}})


def wants_object(body: dict[str, Any]) -> bool:
    return bool(body.get("tools")) or "responseJsonSchema" in json.dumps(body.get("generationConfig"))


def start(body: dict[str, Any], *, as_object: bool) -> Iterator[bytes]:
    return iter(())


def piece(body: dict[str, Any], text: str, *, as_object: bool) -> Iterator[bytes]:
    if as_object and body.get("tools"):
        name = body["tools"][0]["functionDeclarations"][0]["name"]
        yield _chunk({"functionCall": {"name": name, "args": json.loads(text)}})
    else:
        yield _chunk({"text": text})


def finish(body: dict[str, Any], play: Play, tokens: tuple[int, int], *, as_object: bool) -> Iterator[bytes]:
    yield _last("MAX_TOKENS" if play.ending == "length" else "STOP", tokens, counted=not play.uncounted)


def refusal(body: dict[str, Any], tokens: tuple[int, int]) -> Iterator[bytes]:
    yield _last("SAFETY", tokens, counted=True)


def overload(body: dict[str, Any]) -> Iterator[bytes]:
    yield sse({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}})


def garbage() -> bytes:
    return b'data: {"candidates": [{"content": {"par\n\n'


def input_text(body: dict[str, Any]) -> str:
    return json.dumps([body.get("systemInstruction"), body.get("contents")])


def _chunk(part: dict[str, Any]) -> bytes:
    candidate = {"index": 0, "content": {"role": "model", "parts": [part]}}
    return sse({"candidates": [candidate], "modelVersion": "gemini-test", "responseId": "r1"})


def _last(reason: str, tokens: tuple[int, int], *, counted: bool) -> bytes:
    count = {"promptTokenCount": tokens[0], "candidatesTokenCount": tokens[1], "totalTokenCount": sum(tokens)}
    candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": reason}
    ending = {"candidates": [candidate], "modelVersion": "gemini-test", "responseId": "r1"}
    return sse({**ending, "usageMetadata": count} if counted else ending)
