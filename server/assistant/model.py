"""A language model as an Assistant, through pydantic-ai's direct interface: one call, no agent, no retries.

Retries belong to the turn. Three parties would retry by themselves and must not: pydantic-ai's agent (not used), the
vendors' SDKs (`max_retries`), the HTTP client (it has none).

This module needs pydantic-ai, an optional package: only `vendors` imports it, when a model is opened.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from itertools import groupby
from typing import Any, Final

import httpx2
import msgspec
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from server.assistant import Message, Prompt, Usage
from server.assistant.errors import AssistantError, Fault
from server.assistant.model_errors import describe
from server.assistant.tokens import estimate_input, estimate_tokens

#: Several vendors want a user's message first and then the sides in turn; a conversation begins with our greeting.
_OPENING: Final = "(The conversation begins.)"
_OBJECT_TOOL: Final = "answer"
_OBJECT_TOOL_SAYS: Final = "Give the answer."


#: Where the responses of the call are noted that the present task makes.
_responses: ContextVar[list[httpx2.Response] | None] = ContextVar("responses", default=None)


async def note_response(response: httpx2.Response) -> None:
    """A hook for the HTTP client: remember a response, so that the call closes it in the end."""
    if (mine := _responses.get()) is not None:
        mine.append(response)


class LanguageModel:
    """An Assistant over a pydantic-ai model. `close` frees what the model holds."""

    def __init__(self, model: Model, close: Callable[[], Awaitable[None]]) -> None:
        self.name = model.model_name
        self._model = model
        self._close = close

    async def aclose(self) -> None:
        """Close the connections; calls under way fail."""
        await self._close()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Usage, None]:
        """As the contract says. No text at all is an answer too: then the Usage comes alone."""
        request = model_request_stream(
            self._model,
            _conversation(prompt),
            model_settings=_settings(prompt),
            model_request_parameters=_parameters(prompt.schema),
        )
        call = _Call(self.name, prompt)
        _responses.set(call.responses)
        error: AssistantError | None = None
        try:
            async with request as answer:
                call.answer = answer
                async for event in answer:
                    if piece := _piece_of(event):
                        call.note(piece)
                        yield piece
                error = call.problem()
        except AgentRunError as raised:
            error = call.failure(*describe(raised))
        except ValueError as raised:
            # An SDK parses the stream by itself; what it raises for bad JSON depends on its version.
            error = call.failure(Fault.MALFORMED, f"{type(raised).__name__} in the stream")
        finally:
            await call.close()
        if error is not None:
            # Raised out here, so that it does not bring the vendor's own exception along: that holds the vendor's
            # words, which can repeat a person's, and a logger that logs an exception logs its causes.
            raise error
        yield call.usage()


class _Call:
    """What is known of a call while it runs."""

    def __init__(self, model: str, prompt: Prompt) -> None:
        self.answer: StreamedResponse | None = None
        self.responses: list[httpx2.Response] = []
        self._model = model
        self._prompt = prompt
        self._start = time.monotonic()
        self._first_ms: int | None = None
        self._chars = 0

    async def close(self) -> None:
        """Free the connection. Not every SDK closes a stream that broke (google-genai 2.34 does not)."""
        while self.responses:
            await self.responses.pop().aclose()

    def note(self, piece: str) -> None:
        if self._first_ms is None:
            self._first_ms = self._elapsed_ms()
        self._chars += len(piece)

    def problem(self) -> AssistantError | None:
        """What is wrong with an answer that ended in good order."""
        assert self.answer is not None
        reason, details = self.answer.finish_reason, self.answer.provider_details or {}
        if reason == "content_filter":
            return self.failure(Fault.REFUSED, "the answer was withheld")
        if reason == "error":
            return self.failure(Fault.UNREACHABLE, "the vendor gave up")
        if reason is None and "finish_reason" not in details and self.answer.provider_url:
            # A proxy may end the body in good order when the vendor broke off; only the vendor's last word counts.
            # (Models without an address, for tests, have no such word and no proxy.)
            return self.failure(Fault.UNREACHABLE, "the stream ended without an end")
        return None

    def failure(self, fault: Fault, reason: str, retry_after_ms: int | None = None) -> AssistantError:
        return AssistantError(
            fault,
            f"{self._model}: {reason}",
            retry_after_ms=retry_after_ms,
            streamed=self._chars > 0,
            usage=self.usage(ended=False),
        )

    def usage(self, *, ended: bool = True) -> Usage:
        """The vendor's count. Where it gave none, or the call did not get to its end, what is missing is estimated."""
        counted = self.answer.usage if self.answer is not None else None
        given, taken = (counted.input_tokens, counted.output_tokens) if counted is not None else (0, 0)
        measured = not self._chars or bool(given and taken and ended)
        if not measured:
            given = given or estimate_input(self._prompt.system, self._prompt.window)
            taken = max(taken, estimate_tokens(self._chars))
        return Usage(
            (self.answer.model_name if self.answer is not None else None) or self._model,
            given,
            taken,
            first_token_ms=self._first_ms,
            took_ms=self._elapsed_ms(),
            measured=measured,
            complete=self.answer is None or self.answer.finish_reason != "length",
        )

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._start) * 1000)


def _settings(prompt: Prompt) -> ModelSettings:
    settings: ModelSettings = {
        "max_tokens": prompt.max_tokens,
        "request_timeout": max(prompt.deadline_ms, 0) / 1000,
        "max_retries": 0,
    }
    return {**settings, "thinking": False} if prompt.quick else settings


def _parameters(schema: Any | None) -> ModelRequestParameters:
    """Ask for an object in the way that the model does best: as a tool's arguments, or as JSON text."""

    if schema is None:
        return ModelRequestParameters()
    form = describe_schema(schema)
    says = form.get("description", _OBJECT_TOOL_SAYS)
    return ModelRequestParameters(
        output_mode="auto",
        output_tools=[ToolDefinition(name=_OBJECT_TOOL, parameters_json_schema=form, description=says, kind="output")],
        output_object=OutputObjectDefinition(json_schema=form, name=_OBJECT_TOOL, description=says),
        allow_text_output=False,
    )


def describe_schema(schema: Any) -> dict[str, Any]:
    """The JSON schema of a type whose values are JSON objects, with the object itself at its root.

    Raises TypeError for a type that msgspec does not know.
    """
    (form,), parts = msgspec.json.schema_components((schema,), ref_template="#/$defs/{name}")
    root = form.get("$ref", "").rpartition("/")[2]
    form = {**parts.get(root, form)}
    others = {name: part for name, part in parts.items() if name != root or _refers_to(parts, root)}
    return {**form, "$defs": others} if others else form


def _refers_to(parts: dict[str, Any], name: str) -> bool:
    return f'"#/$defs/{name}"'.encode() in msgspec.json.encode(parts)


def _conversation(prompt: Prompt) -> list[ModelMessage]:
    """The messages as pydantic-ai has them: a user's first, then the sides in turn, a user's last."""

    turns: list[ModelMessage] = []
    for role, text in _in_turn(prompt.window):
        if role == "user":
            turns.append(ModelRequest(parts=[UserPromptPart(text)], instructions=prompt.system or None))
        else:
            turns.append(ModelResponse(parts=[TextPart(text)]))
    return turns


def _in_turn(window: Sequence[Message]) -> list[tuple[str, str]]:
    """One message a turn: what one side said in a row is one. Raises ValueError without a user's message at the end."""
    if not window or window[-1].role != "user":
        raise ValueError("a prompt ends with a user's message")
    grouped = groupby((message for message in window if message.text), key=lambda message: message.role)
    turns: list[tuple[str, str]] = [(role, "\n\n".join(message.text for message in said)) for role, said in grouped]
    return turns if turns[:1] and turns[0][0] == "user" else [("user", _OPENING), *turns]


def _piece_of(event: object) -> str:
    """The new text of an event: words, or a part of an object's JSON; "" for what else a model does (thinking)."""
    match event:
        case PartStartEvent(part=TextPart(content=text)) | PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
        case PartStartEvent(part=ToolCallPart(args=args)) | PartDeltaEvent(delta=ToolCallPartDelta(args_delta=args)):
            return args if isinstance(args, str) else msgspec.json.encode(args).decode() if args else ""
        case _:
            return ""
