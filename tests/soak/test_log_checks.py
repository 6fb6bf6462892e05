"""Each way to break the log or a promise is caught, and named."""

from collections.abc import Callable

import pytest

from tests.soak.play import LOG, Play, ack, answer, ended, line, said, transient, whole


def test_a_good_history_passes() -> None:
    assert whole().final().judged() == set()


def without(play: Play, *seqs: int) -> None:
    """Take events out of the log, and close the ranks."""
    left = [frame for frame in play.log if frame["seq"] not in seqs]
    play.log = [{**frame, "seq": place} for place, frame in enumerate(left, 1)]


def lose_a_line(play: Play) -> None:
    without(play, 6, 7, 8)


def double_a_line(play: Play) -> None:
    play.log += [said(9, "b", "bridges"), answer(10, "you said bridges"), ended(11, 9)]


def answer_twice(play: Play) -> None:
    play.log += [answer(9, "you said bridges"), ended(10, 6)]


def never_answer(play: Play) -> None:
    play.log += [said(9, "c", "clouds")]
    play.note("main", 2, "send", line("c", "clouds"))


def say_out_of_nowhere(play: Play) -> None:
    play.log += [said(9, "x", "who was that"), answer(10, "?"), ended(11, 9)]


def leave_a_gap(play: Play) -> None:
    play.log = [frame for frame in play.log if frame["seq"] != 4]


def stop_time(play: Play) -> None:
    play.log[4]["timestamp"] = play.log[3]["timestamp"]


def make_ids_anew(play: Play) -> None:
    play.log[3]["message_id"] = "another"


def change_a_word(play: Play) -> None:
    play.log[6]["payload"] = {"text": "you said fridges"}


def repeat_an_id(play: Play) -> None:
    play.log[6]["message_id"] = play.log[3]["message_id"]


def greet_twice(play: Play) -> None:
    play.log += [answer(9, "Welcome."), ended(10, 0)]


def act_on_an_old_state(play: Play) -> None:
    play.log[7] = ended(8, 6, "CHOICE")


def tear_a_turn(play: Play) -> None:
    play.log[6], play.log[7] = {**play.log[7], "seq": 7}, {**play.log[6], "seq": 8}


def swap_two_lines(play: Play) -> None:
    """Both were acknowledged where they stood; then they stand the other way round."""
    play.log[2], play.log[5] = said(3, "b", "bridges"), said(6, "a", "apples")


def move_a_line(play: Play) -> None:
    """Sent after the ack of the other, and stored before it."""
    play.log = [*LOG[:2], said(3, "b", "bridges"), answer(4, "."), ended(5, 3), said(6, "a", "apples"), ended(7, 6)]


def ack_twice_as_new(play: Play) -> None:
    play.note("main", 2, "send", line("b", "bridges"))
    play.receive("main", 2, ack("b", 6))


def ack_elsewhere(play: Play) -> None:
    play.note("main", 2, "send", line("b", "bridges"))
    play.receive("main", 2, ack("b", 7, duplicate=True))


def ack_what_was_not_sent(play: Play) -> None:
    play.receive("main", 2, ack("b", 6, duplicate=True))


def ack_a_first_try_as_duplicate(play: Play) -> None:
    play.note("main", 2, "send", line("c", "clouds"))
    play.receive("main", 2, ack("c", 9, duplicate=True))
    play.log += [said(9, "c", "clouds"), answer(10, "."), ended(11, 9)]


def store_other_words(play: Play) -> None:
    """The second body of an id took the place of the first."""
    play.note("main", 2, "send", line("a", "anything else"))
    play.log[2] = said(3, "a", "anything else")


def store_what_was_refused(play: Play) -> None:
    play.note("main", 2, "send", line("c", "clouds"))
    play.receive("main", 2, transient("error", code="inbox_full", id="c", temporary=True))
    play.log += [said(9, "c", "clouds"), answer(10, "."), ended(11, 9)]


@pytest.mark.parametrize(
    ("change", "caught"),
    [
        (lose_a_line, "acked line lost"),
        (lose_a_line, "seen and lost"),
        (double_a_line, "line twice"),
        (answer_twice, "answered twice"),
        (never_answer, "unanswered"),
        (say_out_of_nowhere, "uncaused"),
        (leave_a_gap, "log gap"),
        (stop_time, "time"),
        (make_ids_anew, "seen otherwise"),
        (change_a_word, "seen otherwise"),
        (repeat_an_id, "message id twice"),
        (greet_twice, "greeting"),
        (act_on_an_old_state, "turn on an old state"),
        (tear_a_turn, "torn turn"),
        (swap_two_lines, "ack of another place"),
        (move_a_line, "real-time order"),
        (ack_twice_as_new, "new twice"),
        (ack_elsewhere, "acked at two places"),
        (ack_what_was_not_sent, "ack of nothing"),
        (ack_a_first_try_as_duplicate, "duplicate of nothing"),
        (store_other_words, "other words"),
        (store_what_was_refused, "refused and stored"),
    ],
)
def test_a_broken_log_or_promise_is_caught(change: Callable[[Play], None], caught: str) -> None:
    play = whole()
    change(play)
    assert caught in play.final().judged()
