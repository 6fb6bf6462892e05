"""A server process whose assistant is a model of the vendors on loopback."""

import uuid

from tests.support.wire import Client, Frame
from tests.vendors import Vendors

LONG = " ".join(f"word{number}" for number in range(100))


def talk(port: int, session_id: str = "", workflow: str = "chat") -> Client:
    """A client in plain conversation."""
    return Client(port, session_id=session_id or str(uuid.uuid4()), workflow=workflow)


def environment(vendors: Vendors, vendor: str = "openai", **more: str) -> dict[str, str]:
    stem = vendor.partition("-")[0].upper()
    more.setdefault("ASSISTANT_PRICES", "test-model=1/2")
    model = {"ASSISTANT": f"{vendor}:test-model", f"{stem}_API_KEY": "secret", f"{stem}_BASE_URL": vendors.url(vendor)}
    return {**model, **more}


def assembled(tab: Client) -> str:
    """The streamed text as a client makes it of the pieces. Raises AssertionError for a hole or a doubled piece."""
    text, attempt, n = "", 0, 0
    for frame in tab.frames:
        if frame.get("type") != "stream_delta":
            continue
        piece = frame["payload"]
        if piece["attempt"] < attempt:
            continue
        if piece["reset"]:
            text, attempt, n = piece["text"], piece["attempt"], piece["n"]
            continue
        assert (piece["attempt"], piece["n"]) == (attempt, n + 1), tab.story()
        text, n = text + piece["text"], n + 1
    return text


def ended(tab: Client) -> Frame:
    """The last state_update."""
    return [frame for frame in tab.durable if frame["type"] == "state_update"][-1]
