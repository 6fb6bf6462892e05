"""What is said to a server, and what its frames mean: the same lines in the words of each protocol.

A speech says what a connection must hear first, makes lines, and tells a `Listener` what came. Frames are told apart
by their first bytes, and none is parsed: the client would be busier with that than the server with the turn.
"""

import uuid
from typing import Final, Protocol

import msgspec

#: As long as a line that a person types. The number comes back in the answer, which shows that it is the right one.
WORDS: Final = "Could the third slide say more about the budget? {:08d}"
_encode: Final = msgspec.json.encode


class Listener(Protocol):
    """Whoever hears what a server says."""

    def write(self, text: bytes) -> None: ...

    def opened(self) -> None: ...

    def acked(self) -> None: ...

    def replied(self, frame: bytes) -> None: ...

    def ended(self) -> None: ...

    def refused(self, frame: bytes) -> None: ...


class Speech(Protocol):
    """The words of one protocol."""

    def line(self, number: int) -> bytes:
        """A user's line under an id of its own. `number` is its place in the conversation."""
        ...

    def heard(self, listener: Listener, frame: bytes) -> None:
        """Tell the listener what a text frame means."""
        ...


class Native:
    """Our own frames; the floor and the LangGraph server speak them, too. `ends`: the frame that ends a turn."""

    PONG: Final = b'{"type":"pong"}'

    def __init__(self, ends: bytes = b"state_update") -> None:
        self._ends = ends

    def line(self, number: int) -> bytes:
        return self.say(WORDS.format(number), f"{number:036d}")

    @staticmethod
    def say(text: str, line_id: str) -> bytes:
        """A line of these words."""
        return _encode({"type": "user_message", "id": line_id, "data": {"text": text}})

    def heard(self, listener: Listener, frame: bytes) -> None:
        kind = frame[9 : frame.index(b'"', 9)]  # behind {"type":"
        if kind == b"ack":
            listener.acked()
        elif kind == b"chat_message":
            if b'"role":"assistant"' in frame:
                listener.replied(frame)
                if self._ends == kind:
                    listener.ended()
        elif kind == self._ends:
            listener.ended()
        elif kind == b"live":
            listener.opened()
        elif kind == b"ping":
            listener.write(self.PONG)
        elif kind in (b"error", b"turn_failed"):
            listener.refused(frame)


class SocketIo:
    """Socket.IO 5 over Engine.IO 4: a packet is a digit or two before the JSON."""

    def __init__(self) -> None:
        self._auth = b"{}"

    def line(self, number: int) -> bytes:
        return b"42" + _encode(["user_message", {"id": f"{number:036d}", "text": WORDS.format(number)}])

    def heard(self, listener: Listener, frame: bytes) -> None:
        if frame.startswith(b'42["'):
            self.event(listener, frame[4 : frame.index(b'"', 4)], frame)
        elif frame.startswith(b"0"):
            listener.write(b"40" + self._auth)
        elif frame.startswith(b"40"):
            self.connected(listener)
        elif frame == b"2":
            listener.write(b"3")
        elif frame.startswith(b"44"):
            listener.refused(frame)

    def connected(self, listener: Listener) -> None:
        """The namespace is open."""
        listener.opened()

    def event(self, listener: Listener, name: bytes, frame: bytes) -> None:
        """An event of the server."""
        if name == b"ack":
            listener.acked()
        elif name == b"chat_message":
            listener.replied(frame)
            listener.ended()


class Chainlit(SocketIo):
    """Chainlit's events. It has no ack: a line is told to nobody but the answer's reader."""

    def __init__(self) -> None:
        super().__init__()
        self._session = str(uuid.uuid4())
        self._auth = _encode({"sessionId": self._session, "clientType": "webapp", "userEnv": "{}", "threadId": ""})
        self._open = False

    def line(self, number: int) -> bytes:
        message = {
            "id": f"{self._session[:24]}{number:012d}",
            "name": "user",
            "type": "user_message",
            "output": WORDS.format(number),
            "createdAt": "2026-01-01T00:00:00.000Z",
        }
        return b"42" + _encode(["client_message", {"message": message, "fileReferences": []}])

    def connected(self, listener: Listener) -> None:
        listener.write(b'42["connection_successful"]')

    def event(self, listener: Listener, name: bytes, frame: bytes) -> None:
        if name == b"task_end":
            if self._open:
                listener.ended()
            else:  # Chainlit says so once when it has taken the connection in
                self._open = True
                listener.opened()
        elif name == b"new_message" and b'"assistant_message"' in frame:
            listener.replied(frame)


def speech(name: str) -> Speech:
    """A speech for one connection: `native`, `plain` (a turn ends with its answer), `socketio`, `chainlit`."""
    match name:
        case "native":
            return Native()
        case "plain":
            return Native(ends=b"chat_message")
        case "socketio":
            return SocketIo()
        case "chainlit":
            return Chainlit()
    raise ValueError(name)
