"""What a turn's calls to a model took: stored with the turn, summed for the session, told to the tabs."""

from typing import Any

from server.assistant import Message, Prompting
from server.errors import ErrorCode
from server.machines.effects import Commit, RunStep, Show
from server.machines.inputs import Failed, Opened
from server.machines.trace import ModelCall, ModelUsage, Spent, ToolCall
from server.records import Event, Loaded, fold
from server.workflows.table import Line, Turn
from tests.pure.sessions import IDS, accept, cancel, cold, done, finish, running, say
from tests.support.builders import SESSION, T0_MS, USER, snapshot, the

CALL = ModelCall(
    session_id=SESSION, attempt=1, name="answer", digest="d", ms=9, outcome="answered", messages=1, chars=5, tokens=2
)  # fmt: skip
USE = ToolCall(session_id=SESSION, attempt=2, tool="t", input="1", output="2", ms=3, outcome="answered")


def spent(cost: int | None = 30, calls: int = 1) -> Spent:
    usage = ModelUsage(
        model="m", input_tokens=10, output_tokens=5, cost_micro_usd=cost, calls=calls, attempts=1, first_token_ms=7,
        measured=True,
    )  # fmt: skip
    return Spent(usage, (CALL, USE))


def usage() -> dict[str, Any]:
    """The usage of `spent()` as the log has it."""
    return {
        "model": "m", "input_tokens": 10, "output_tokens": 5, "cost_micro_usd": 30, "calls": 1, "attempts": 1,
        "first_token_ms": 7, "measured": True,
    }  # fmt: skip


def usage_frames(effects: list[Any]) -> list[dict[str, Any]]:
    return [e.frame.payload for e in effects if isinstance(e, Show) and e.frame.type == "token_usage"]


def ended(commit: Commit) -> Event:
    return commit.write.events[-1]


def test_a_turn_keeps_what_it_took_and_the_session_the_sum() -> None:
    machine, step = running()
    commit = the(machine.deliver(done(step, memory={"topic": "tea"}, spent=spent())), Commit)
    assert ended(commit).payload["usage"] == usage()
    assert ended(commit).payload["trace"] == [
        {
            "kind": "model", "session_id": SESSION, "attempt": 1, "name": "answer", "digest": "d", "ms": 9,
            "outcome": "answered", "messages": 1, "chars": 5, "tokens": 2,
        },
        {
            "kind": "tool", "session_id": SESSION, "attempt": 2, "tool": "t", "input": "1", "output": "2", "ms": 3,
            "outcome": "answered",
        },
    ]  # fmt: skip
    total = {"input_tokens": 10, "output_tokens": 5, "cost_micro_usd": 30, "calls": 1}
    assert ended(commit).payload["memory"] == {"topic": "tea", "@usage": total}
    assert commit.write.update is not None
    assert commit.write.update.memory == {"topic": "tea", "@usage": total}
    effects = finish(machine, commit, 3)
    assert usage_frames(effects) == [{"turn": 3, **usage(), "total_tokens": 15, "session": total}]

    again = the(accept(machine, say(client_id="c6"), 6), RunStep)
    commit = the(machine.deliver(done(again, spent=spent(cost=None, calls=2))), Commit)
    session = usage_frames(finish(machine, commit, 6, version=3))[0]["session"]
    assert session == {"input_tokens": 20, "output_tokens": 10, "cost_micro_usd": 30, "calls": 3}


def test_a_turn_that_called_tools_alone_has_a_trace_and_no_usage() -> None:
    machine, step = running()
    commit = the(machine.deliver(done(step, spent=Spent(None, (USE,)))), Commit)
    payload = ended(commit).payload
    assert payload.keys() == {"from", "to", "intent", "turn", "memory", "trace"}
    assert [entry["kind"] for entry in payload["trace"]] == ["tool"]
    assert payload["memory"] == {}
    assert usage_frames(finish(machine, commit, 3)) == []


def test_a_turn_without_a_call_says_nothing_of_usage() -> None:
    machine, step = running()
    commit = the(machine.deliver(done(step)), Commit)
    assert ended(commit).payload.keys() == {"from", "to", "intent", "turn", "memory"}
    assert usage_frames(finish(machine, commit, 3)) == []


def test_a_turn_that_failed_or_was_stopped_was_paid_too() -> None:
    machine, step = running()
    failure = Failed(step.run, ErrorCode.ASSISTANT_TIMEOUT, "Too long.", "corr", True, IDS, T0_MS, spent())
    assert "usage" in ended(the(machine.deliver(failure), Commit)).payload
    machine, _ = running()
    assert "usage" in ended(the(machine.deliver(cancel(spent=spent())), Commit)).payload


def test_the_fold_law_holds_with_usage() -> None:
    machine, step = running()
    write = the(machine.deliver(done(step, memory={"topic": "tea"}, spent=spent())), Commit).write
    folded = fold(write.events, USER)
    assert folded is not None
    assert write.update is not None
    assert folded.memory == write.update.memory


def test_a_line_that_the_store_kept_for_us_begins_with_its_second_attempt() -> None:
    """Clients may have pieces of a first one, of a process that died."""
    _, first = running()
    assert first.attempt == 1
    kept = Event(
        session_id=SESSION, type="chat_message", role="user", message_id="m", payload={"text": "hello"},
        created_at=T0_MS, seq=3, turn=3, client_id="c3",
    )  # fmt: skip
    step = the(cold().deliver(Opened(Loaded(snapshot(seq=3, lined=3), (), (kept,)))), RunStep)
    assert step.attempt == 2


def test_a_window_is_what_was_said_and_the_line() -> None:
    turn = Turn(
        session_id="s", number=3, attempt=1, line=Line("And coffee?", "And coffee?"), intent="Say", came_from="A",
        state="A", memory={}, events=(), new_id=str, public_url="",
        messages=[Message("user", f"line {n}") for n in range(5)], prompting=Prompting(context_limit=3),
    )  # fmt: skip
    assert [message.text for message in turn.window("Be brief.")] == ["line 3", "line 4", "And coffee?"]
