"""Each way to resume wrongly, or to end a connection without a reason, is caught, and named."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.soak.history import Record
from tests.soak.play import LOG, Play, ended, event, line, said, sync, transient, whole
from tests.soak.view import Frame, Processes

LIVE = transient("live", head=8)
DELTA = sync("send_delta", 8, 5)


@pytest.mark.parametrize(
    ("frames", "query", "caught"),
    [
        ((DELTA, LOG[6], LOG[7], LIVE), {"after": "5"}, "hole in a resume"),
        ((DELTA, LOG[5], LOG[7], LIVE), {"after": "5"}, "hole in a resume"),
        ((DELTA, LOG[5], LOG[6], LIVE), {"after": "5"}, "hole in a resume"),
        ((DELTA, *LOG[4:], LIVE), {"after": "5"}, "repeated"),
        ((LOG[5], DELTA, *LOG[5:]), {"after": "5"}, "before sync_response"),
        ((DELTA, *LOG[5:], LIVE), {"after": "5", "last_message_id": "message-4"}, "wrong resume"),
        ((sync("reset", 8, 5), *LOG, LIVE), {"after": "5"}, "wrong resume"),
        ((sync("send_delta", 8, 5), LIVE), {"after": "9"}, "wrong resume"),
        ((sync("send_history", 8, 5), *LOG, LIVE), {"skip_history": "true", "message_count": "5"}, "wrong resume"),
        ((sync("skip_history", 8, 5), LIVE), {"skip_history": "true", "message_count": "4"}, "wrong resume"),
        ((sync("send_delta", 8, 4), *LOG[5:], LIVE), {"after": "5"}, "message_count"),
        ((sync("send_delta", 5, 3), transient("live", head=5)), {"after": "5"}, "old head"),
        ((sync("send_delta", 9, 5), *LOG[5:]), {"after": "5"}, "seen and lost"),
    ],
)
def test_a_resume_that_is_not_exact_is_caught(frames: tuple[Frame, ...], query: dict[str, str], caught: str) -> None:
    assert caught in Play().first().second(*frames, **query).final().judged()


@pytest.mark.parametrize(
    ("frames", "query"),
    [
        ((sync("reset", 8, 5), *LOG, LIVE), {"after": "9"}),
        ((sync("reset", 8, 5), *LOG, LIVE), {"after": "5", "last_message_id": "message-4"}),
        ((sync("send_history", 8, 5), *LOG, LIVE), {"skip_history": "true", "message_count": "4"}),
        ((sync("skip_history", 8, 5), LIVE), {"skip_history": "true", "message_count": "5"}),
    ],
)
def test_a_justified_answer_to_a_cursor_passes(frames: tuple[Frame, ...], query: dict[str, str]) -> None:
    assert Play().first().second(*frames, **query).final().judged() == set()


@pytest.mark.parametrize(("times", "caught"), [(1, set[str]()), (2, {"repeated"})])
def test_a_resume_may_cross_a_replay_of_the_servers_own(*, times: int, caught: set[str]) -> None:
    play = whole()
    play.note("main", 2, "send", {"type": "resume", "after": 6})
    for _ in range(times):
        play.receive("main", 2, LIVE, *LOG[6:])
    play.receive("main", 2, LIVE)
    assert play.final().judged() == caught


def test_a_resume_in_the_middle_begins_again_where_it_was_asked_to() -> None:
    play = whole()
    play.note("main", 2, "send", {"type": "resume", "after": 3})
    play.receive("main", 2, *LOG[3:], LIVE)
    assert play.final().judged() == set()


CARD = event(10, "action_request", "assistant", {"prompt_text": "?", "actions": []})
AGAIN = {name: value for name, value in CARD.items() if name != "seq"}


@pytest.mark.parametrize(
    ("shown", "caught"),
    [
        (AGAIN, set[str]()),
        (CARD, {"repeated"}),
        ({**AGAIN, "payload": {"prompt_text": "!", "actions": []}}, {"another card"}),
        ({**AGAIN, "message_id": "message-11"}, {"another card"}),
    ],
)
def test_a_card_comes_again_without_a_seq_and_unchanged(shown: Frame, caught: set[str]) -> None:
    play = whole()
    play.log += [said(9, "c", "choose"), CARD, ended(11, 9)]
    play.note("main", 2, "send", line("c", "choose"))
    play.receive("main", 2, *play.log[8:], shown)
    assert play.final().judged() == caught


def test_an_answer_that_is_not_what_was_streamed_is_caught() -> None:
    play = Play().first()
    play.second(DELTA, LOG[5])
    delta = {**transient("stream_delta", n=1, text="you shed", reset=False), "message_id": "message-7"}
    play.receive("main", 2, delta, *LOG[6:])
    assert play.final().judged() == {"stream"}


def close_with(code: int) -> Callable[[Play], None]:
    return lambda play: play.note("main", 2, "close", code=code, ours=False)


def refuse_with(status: int) -> Callable[[Play], None]:
    return lambda play: play.note("main", 3, "refused", status=status)


def tell_a_stranger(play: Play) -> None:
    play.connect("stranger", 1, user="somebody-else")
    play.receive("stranger", 1, sync("send_history", 8, 5), *LOG)


@pytest.mark.parametrize(
    ("change", "caught"),
    [
        (close_with(1006), "close code"),
        (close_with(1011), "close code"),
        (close_with(4100), "close code"),
        (close_with(4200), "close code"),
        (refuse_with(500), "refusal"),
        (tell_a_stranger, "told a stranger"),
    ],
)
def test_an_end_without_a_reason_is_caught(change: Callable[[Play], None], caught: str) -> None:
    play = whole()
    change(play)
    assert caught in play.final().judged()


def test_a_cut_connection_is_explained_by_a_killed_process() -> None:
    play = whole()
    close_with(1006)(play)
    play.processes.append(Record("", 2.0, e="exit", q={"number": 1, "status": -9}))
    assert play.final().judged() == set()


def test_a_frame_that_was_never_committed_is_caught() -> None:
    """Published, and then the process was killed before the commit: somebody saw what is not there."""
    play = whole()
    play.receive("main", 2, said(9, "c", "clouds"))
    assert play.final().judged() == {"seen and lost", "old head"}


@pytest.mark.parametrize(("status", "strange"), [(-9, 0), (0, 1), (1, 1), (-11, 1)])
def test_a_process_that_ends_by_itself_is_caught(status: int, strange: int) -> None:
    ended = Record("", 2.0, e="exit", q={"number": 1, "status": status})
    assert len(list(Processes([*Play().processes, ended]).strange_ends())) == strange
    asked = Record("", 1.9, e="term", q={"number": 1})
    assert (
        list(Processes([*Play().processes, asked, replace(ended, q={"number": 1, "status": 0})]).strange_ends()) == []
    )
