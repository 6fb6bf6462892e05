"""Workflows that do what tests need: echo, wait, stream, break."""

import asyncio
import contextlib
import math
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from server.workflows.chat import CHAT
from server.workflows.table import STAY, Ask, Button, Delta, Output, Progress, Remember, State, Turn, Workflow, chat
from tests.support.example_tools import WEATHER


def _note(path: Path) -> None:
    with path.open("a") as notes:
        notes.write(f"{os.getpid()}\n")


def greet(turn: Turn) -> Iterator[Output]:
    yield chat("Welcome.")


def echo(turn: Turn) -> AsyncIterator[Output] | Iterator[Output]:
    """Most lines are answered at once; those that begin with one of a few words are not."""
    first = turn.line.text.split(maxsplit=1)[0]
    return wait(turn) if first in WAITS else repeat(turn)


WAITS = frozenset(
    {"sleep", "note", "stream", "many", "recall", "boom", "huge", "surrogate", "strange", "silent", "cling"}
)


def repeat(turn: Turn) -> Iterator[Output]:
    """`bang`, `vast`, `mute`, `exit` and `halt` break at once; `freeze` holds everybody up."""
    match turn.line.text:
        case "bang":
            raise RuntimeError("the secret reason")
        case "vast":
            yield chat("x" * 2_000_000)
        case "mute":
            return
        case "exit":
            raise SystemExit(1)
        case "halt":
            asyncio.get_running_loop().stop()
        case "freeze":
            time.sleep(5)
            yield chat("thawed")
        case text:
            yield Remember({"last": text})
            yield chat(f"you said {text}")


async def wait(turn: Turn) -> AsyncIterator[Output]:
    """`sleep 3` waits, `note f 3` notes its process and waits, `stream 1 a b` streams, `cling` never ends …"""
    words = turn.line.text.split()
    match words:
        case ["sleep", seconds]:
            yield Progress("Sleeping …", progress=10)
            await asyncio.sleep(float(seconds))
            yield chat(f"slept {seconds}")
        case ["note", path, seconds]:
            _note(Path(path))
            await asyncio.sleep(float(seconds))
            yield chat(f"noted {seconds}")
        case ["stream", seconds, *rest]:
            for word in rest:
                yield Delta(word)
                await asyncio.sleep(float(seconds))
            yield chat("".join(rest))
        case ["many", count]:
            for number in range(int(count)):
                yield chat(f"frame {number}")
        case ["recall"]:
            yield chat(f"events {[event.seq for event in turn.events]}")
        case ["boom"]:
            raise RuntimeError("the secret reason")
        case ["cling"]:  # swallows every cancellation
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)
        case ["huge"]:
            yield chat("x" * 2_000_000)
        case ["surrogate"]:
            yield chat("\ud800")
        case ["strange"]:
            yield Remember({"score": math.nan, "pair": (1, 2), "by_number": {1: "one"}})
            yield chat("remembered")
        case _:
            return


def choose(turn: Turn) -> Iterator[Output]:
    yield chat("Here is a choice.")
    yield Ask("Which one?")


def classify(turn: Turn, intents: Sequence[str]) -> str:
    return {"choose": "Choose", "back": "Back"}.get(turn.line.text, "Say")


ECHO = Workflow(
    "echo",
    start="HELLO",
    states=[
        State("HELLO", run=greet, on={"Choose": "CHOICE"}),
        State(
            "CHOICE",
            run=choose,
            on={"Back": "HELLO", "Left": "HELLO", "Right": "CHOICE"},
            buttons=[
                Button("left", "Go left", "Left", primary=True),
                Button("right", "Go right", "Right", requires_input=True),
            ],
        ),
    ],
    answer=echo,
    classify=classify,
    fallback="Say",
    always={"Say": STAY},
    summary=lambda memory: {"last": memory.get("last")},
)

#: The same, but it wants more of the last events than anybody gives it.
RECALL = replace(ECHO, name="recall", context=1_000_000)

#: What becomes of a second line.
ECHO_INTERRUPT = replace(ECHO, name="echo-interrupt", when_busy="interrupt")
ECHO_REJECT = replace(ECHO, name="echo-reject", when_busy="reject")
CHAT_INTERRUPT = replace(CHAT, name="chat-interrupt", when_busy="interrupt")
WEATHER_INTERRUPT = replace(WEATHER, name="weather-interrupt", when_busy="interrupt")

WORKFLOWS = {
    workflow.name: workflow
    for workflow in (ECHO, RECALL, ECHO_INTERRUPT, ECHO_REJECT, CHAT_INTERRUPT, WEATHER, WEATHER_INTERRUPT)
}
