"""The bare floor: a socket that answers each line with an ack and a reply, and keeps nothing.

uvicorn as the server uses it – websockets-sansio, uvloop, no deflate – and an ASGI application without a framework, a
log or a check. Its frames have the shape and the size of ours. `python -m tests.bench.floor PORT`.
"""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
import uvicorn

Message = MutableMapping[str, Any]
_encode = msgspec.json.Encoder().encode
_MESSAGE_ID = "00000000-0000-4000-8000-000000000000"
_TIME = "2026-01-01T00:00:00.000Z"


class _Words(msgspec.Struct):
    text: str


class _Line(msgspec.Struct):
    id: str
    data: _Words


_decode = msgspec.json.Decoder(_Line).decode


def frame(session_id: str, kind: str, role: str, payload: dict[str, Any]) -> str:
    """The text of a frame."""
    envelope = {
        "type": kind,
        "message_id": _MESSAGE_ID,
        "session_id": session_id,
        "timestamp": _TIME,
        "role": role,
        "payload": payload,
    }
    return _encode(envelope).decode()


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """One connection: what a reconnect is told at once, then two frames for each line."""
    if scope["type"] != "websocket":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    await receive()  # websocket.connect
    session_id = parse_qs(scope["query_string"].decode())["session_id"][0]
    await send({"type": "websocket.accept", "subprotocol": "rejoinder.v1"})
    state = {"action": "send_delta", "message_count": 0, "current_state": "HELLO", "head": 0, "running": None}
    await send({"type": "websocket.send", "text": frame(session_id, "sync_response", "system", state)})
    await send({"type": "websocket.send", "text": frame(session_id, "live", "system", {"head": 0})})
    seq = 0
    while (message := await receive())["type"] == "websocket.receive":
        line = _decode(message["text"])
        seq += 1
        ack = {"id": line.id, "seq": seq, "duplicate": False}
        await send({"type": "websocket.send", "text": frame(session_id, "ack", "system", ack)})
        said = {"text": f"you said {line.data.text}", "sub_title": None, "list_items": None, "format": "plain"}
        await send({"type": "websocket.send", "text": frame(session_id, "chat_message", "assistant", said)})


def main() -> None:
    """Serve until a signal."""
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
