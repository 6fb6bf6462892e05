"""The machine of one conversation: how a turn ends, and what it shows until then."""

from typing import Any

from msgspec import structs

from server.errors import CloseCode
from server.machines.effects import Commit, Gone, Load, Publish, RunStep, SetTimer, Show, Tell
from server.machines.inputs import (
    NOT_THERE,
    UNREADABLE,
    Appended,
    LoadDone,
    Opened,
    Shown,
    Streamed,
    TimerFired,
    TurnCommitted,
)
from server.machines.standing import Phase
from server.records import UNKNOWN, Committed, Conflict, Event, Missing, Write, fold, place
from server.wire import protocol
from server.workflows.table import Frame, Progress, chat
from tests.pure.sessions import (
    accept,
    append,
    broken,
    cold,
    committing,
    done,
    finish,
    idle,
    loaded,
    news,
    press,
    reload,
    running,
    say,
)
from tests.support.builders import SESSION, USER, ended, event, every, kinds, line, the

# ---------------------------------------------------------------- the end of a turn


def test_a_turn_is_one_write_guarded_by_the_version_and_it_moves_the_cursor() -> None:
    machine = idle(version=4, memory={"a": 1}, state="HELLO")
    step = the(accept(machine, say(), 3), RunStep)
    result = done(step, chat("a"), Frame("action_request", {}), to="CHOICE", intent="Choose", memory={"b": 2})
    [commit] = machine.deliver(result)
    assert isinstance(commit, Commit)
    write = commit.write
    assert (write.session_id, write.user_id, write.client_id, write.expected_version) == (SESSION, USER, None, 4)
    assert [(event.type, event.role, event.message_id, event.turn) for event in write.events] == [
        ("chat_message", "assistant", "id0", 3),
        ("action_request", "assistant", "id1", 3),
        ("state_update", "system", "id2", 3),
    ]
    assert write.events[-1].payload == {
        "from": "HELLO",
        "to": "CHOICE",
        "intent": "Choose",
        "turn": 3,
        "memory": {"b": 2},
    }
    assert write.update is not None
    assert (write.update.state, write.update.cursor, write.update.card) == ("CHOICE", 3, "id1")
    assert write.update.memory == {"a": 1, "b": 2}
    assert not commit.again


def test_the_next_turn_sees_what_this_one_left() -> None:
    machine = idle(card="card0", state="CHOICE", memory={"a": 1})
    step = the(accept(machine, say(), 3), RunStep)
    accept(machine, say(client_id="c4"), 4)
    commit = the(machine.deliver(done(step, to="HELLO", intent="Back", memory={"b": 2})), Commit)
    after = the(finish(machine, commit, 4), RunStep).snapshot
    assert after is not None
    assert (after.state, after.memory, after.version, after.cursor, after.seq, after.card) == (
        "HELLO",
        {"a": 1, "b": 2},
        2,
        3,
        6,
        None,
    )


def test_a_turn_that_remembers_nothing_writes_no_memory_and_keeps_it() -> None:
    machine = idle(memory={"a": 1})
    step = the(accept(machine, say(), 3), RunStep)
    commit = the(machine.deliver(done(step)), Commit)
    assert commit.write.update is not None
    assert commit.write.update.memory is None
    finish(machine, commit, 3)
    assert machine.snapshot is not None
    assert machine.snapshot.memory == {"a": 1}


def test_nothing_of_a_turn_is_published_before_it_is_durable() -> None:
    machine, commit = committing()
    assert machine.phase is Phase.COMMITTING
    effects = finish(machine, commit, 3)
    assert [event.seq for event in the(effects, Publish).events] == [4, 5]


def test_a_failed_step_is_seen_and_cannot_loop() -> None:
    machine, step = running()
    commit = the(machine.deliver(broken(step)), Commit)
    failure, words, end = commit.write.events
    assert failure.payload == {"turn": 3, "code": "step_failed", "correlation_id": "corr", "retryable": True}
    assert (failure.type, failure.role, words.payload["text"]) == ("turn_failed", "system", "It broke.")
    assert (end.payload["intent"], end.payload["to"]) == ("Failed", "HELLO")
    assert commit.write.update is not None
    assert commit.write.update.cursor == 3
    assert every(finish(machine, commit, 3), RunStep) == []


def test_a_store_that_cannot_commit_is_asked_again_ever_more_slowly() -> None:
    machine, commit = committing()
    waits = []
    for _ in range(7):
        timer = the(machine.deliver(TurnCommitted(commit.run, UNKNOWN)), SetTimer)
        waits.append(timer.wait_ms)
        assert machine.deliver(TimerFired(timer.name, timer.number)) == [Commit(commit.run, commit.write, again=True)]
    assert waits == [500, 1000, 2000, 4000, 8000, 10_000, 10_000]
    assert kinds(finish(machine, commit, 3)) == ["Publish"]


def test_a_conflict_reads_the_session_again_and_runs_the_line_if_it_is_still_unanswered() -> None:
    machine, commit = committing()
    effects = machine.deliver(TurnCommitted(commit.run, Conflict(2)))
    assert kinds(effects) == ["Load"]
    step = the(reload(machine, effects, loaded(line(3), version=2)), RunStep)
    assert (step.turn, step.attempt) == (3, 2)
    assert the(machine.deliver(done(step)), Commit).write.expected_version == 2


def test_a_conflict_over_a_line_that_another_process_answered_runs_nothing() -> None:
    machine, commit = committing()
    effects = machine.deliver(TurnCommitted(commit.run, Conflict(2)))
    assert reload(machine, effects, loaded(version=2, seq=6, cursor=3)) == [Tell(6)]


def test_a_session_that_was_deleted_during_a_turn_is_gone() -> None:
    machine, commit = committing()
    assert the(machine.deliver(TurnCommitted(commit.run, Missing())), Gone).code is CloseCode.NOT_FOUND


def test_a_load_that_failed_is_tried_again_and_lines_that_waited_for_it_are_refused() -> None:
    machine, commit = committing()
    load = the(machine.deliver(TurnCommitted(commit.run, Conflict(2))), Load)
    assert machine.deliver(press("card9", "c9")) == []
    effects = machine.deliver(LoadDone(load.number, UNREADABLE))
    assert kinds(effects) == ["Reject", "SetTimer"]
    [again] = machine.deliver(TimerFired("load", 0))
    assert isinstance(again, Load)
    machine.deliver(LoadDone(again.number, loaded()))
    assert machine.deliver(TimerFired("load", 0)) == []


def test_answers_to_what_is_over_are_dropped() -> None:
    machine, commit = committing()
    assert machine.deliver(TurnCommitted(commit.run + 1, UNKNOWN)) == []
    finish(machine, commit, 3)
    assert finish(machine, commit, 3) == []
    machine, step = running()
    assert machine.deliver(TurnCommitted(step.run, Conflict(1))) == []  # its step has not ended
    for late in (Shown(9, Progress("x")), Streamed(9, "x", "m"), TimerFired("commit", step.run), TimerFired("no", 0)):
        assert machine.deliver(late) == []
    assert machine.deliver(structs.replace(done(step), run=9)) == []


# ---------------------------------------------------------------- what a running turn shows


def test_a_streamed_text_and_the_message_that_ends_it_share_their_id() -> None:
    machine, step = running()
    first = the(machine.deliver(Streamed(step.run, "an", "s1")), Show).frame
    second = the(machine.deliver(Streamed(step.run, "swer", "s2")), Show).frame
    assert (first.type, first.message_id, second.message_id) == ("stream_delta", "s1", "s1")
    assert first.payload == {"turn": 3, "attempt": 1, "n": 1, "text": "an", "reset": True}
    assert second.payload["n"] == 2
    card = Frame("action_request", {})
    commit = the(machine.deliver(done(step, card, chat("answer"), chat("more"))), Commit)
    assert [event.message_id for event in commit.write.events] == ["id0", "s1", "id2", "id3"]


def test_a_message_keeps_the_id_that_its_first_piece_announced_even_if_that_was_empty() -> None:
    machine, step = running()
    machine.deliver(Streamed(step.run, "", "s1"))
    assert the(machine.deliver(done(step)), Commit).write.events[0].message_id == "s1"


def test_a_stream_that_ends_in_no_message_names_none() -> None:
    machine, step = running()
    machine.deliver(Streamed(step.run, "an", "s1"))
    commit = the(machine.deliver(done(step, Frame("slide_update", {}, "known"))), Commit)
    assert [event.message_id for event in commit.write.events] == ["known", "id1"]


def test_whoever_comes_while_a_turn_runs_sees_its_status_and_its_text_so_far() -> None:
    machine, step = running()
    assert [frame.type for frame in machine.catch_up()] == ["status_update"]
    machine.deliver(Shown(step.run, Progress("Half", 50, 3)))
    for text in ("an", "swer"):
        machine.deliver(Streamed(step.run, text, "s1"))
    status, text_so_far = machine.catch_up()
    assert status == protocol.status(3, "generating", "Half", 50, 3)
    assert text_so_far.payload == {"turn": 3, "attempt": 1, "n": 2, "text": "answer", "reset": True}


def test_what_whoever_comes_is_shown_of_a_turn_is_taken_back_however_quick_it_is() -> None:
    machine, step = running()
    machine.catch_up()
    commit = the(machine.deliver(done(step)), Commit)
    assert the(finish(machine, commit, 3), Show).frame.payload["status"] == "idle"


def test_what_whoever_comes_is_shown_keeps_nothing_from_the_others() -> None:
    machine, step = running()
    machine.catch_up()
    assert the(machine.deliver(TimerFired("status", step.run)), Show).frame.payload["status"] == "thinking"


def test_whoever_comes_while_no_turn_runs_sees_nothing_of_one() -> None:
    assert idle().catch_up() == []
    machine, _ = committing()
    assert machine.catch_up() == []


def test_a_turn_that_takes_a_while_says_that_it_thinks() -> None:
    machine, step = running()
    shown = the(machine.deliver(TimerFired("status", step.run)), Show).frame
    assert (shown.type, shown.payload["status"]) == ("status_update", "thinking")
    assert machine.deliver(TimerFired("status", step.run)) == []
    assert machine.deliver(TimerFired("status", step.run + 1)) == []


def test_a_step_that_speaks_for_itself_is_not_spoken_for() -> None:
    machine, step = running()
    machine.deliver(Shown(step.run, Progress("Half")))
    assert machine.deliver(TimerFired("status", step.run)) == []


def test_a_quick_turn_shows_no_status_and_a_shown_one_is_taken_back() -> None:
    machine, step = running()
    commit = the(machine.deliver(done(step)), Commit)
    assert machine.deliver(TimerFired("status", step.run)) == []
    assert every(finish(machine, commit, 3), Show) == []
    step = the(accept(machine, say(client_id="c6"), 6), RunStep)
    machine.deliver(Shown(step.run, Progress("Half")))
    commit = the(machine.deliver(done(step)), Commit)
    assert the(finish(machine, commit, 6, version=3), Show).frame.payload["status"] == "idle"


def test_a_status_is_taken_back_when_another_process_answers() -> None:
    machine, step = running()
    machine.deliver(Shown(step.run, Progress("Half")))
    effects = machine.deliver(news(event(4, turn=3), ended(5, 3)))
    assert kinds(effects) == ["CancelStep", "Show", "Load"]
    assert the(effects, Show).frame.payload["status"] == "idle"


# ---------------------------------------------------------------- the fold law


def test_what_a_turn_leaves_is_what_its_log_folds_to() -> None:
    machine = cold()
    log: list[Event] = []
    results: list[dict[str, Any]] = [
        {"to": "HELLO", "memory": {"a": 1, "b": 2}, "intent": "Open"},
        {"to": "CHOICE", "memory": {"a": None}, "frames": (Frame("action_request", {}),)},
        {"to": "CHOICE", "memory": {}},
        {"to": "HELLO", "memory": {"c": 3}},
    ]

    def store(write: Write) -> Committed:
        placed = place(write.events, len(log), log[-1].created_at if log else 0)
        log.extend(placed)
        return Committed(placed, len([event for event in log if event.type == "state_update"]))

    effects = machine.deliver(Opened(NOT_THERE))
    for number, result in enumerate(results):
        step = the(effects, RunStep)
        frames = result.pop("frames", (chat("x"),))
        ids = [f"{number}-{place}" for place in range(4)]
        commit = the(machine.deliver(structs.replace(done(step, *frames, **result), ids=ids)), Commit)
        machine.deliver(TurnCommitted(commit.run, store(commit.write)))
        folded, left = fold(log, USER), machine.snapshot
        assert folded is not None
        assert left == structs.replace(folded, lined=0, visible=0)
        message = say(client_id=f"c{number}")
        write = append(machine, message).write
        effects = machine.deliver(Appended(message, store(write)))
