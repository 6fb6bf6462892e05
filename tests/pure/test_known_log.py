"""The log as a session follows it."""

from server.machines.known_log import KnownLog
from tests.support.builders import ended, event, line


def test_an_inbox_takes_what_joins_and_keeps_the_lines() -> None:
    inbox = KnownLog()
    inbox.begin(2, [])
    assert inbox.take([event(2), line(3), event(4), ended(5, 3), line(7)]) == 3
    assert (inbox.head, inbox.lines) == (5, [line(3)])
    assert inbox.next_line(0) == line(3)
    assert inbox.next_line(3) is None
    assert inbox.lines == []


def test_the_newest_line_is_the_last_that_wants_an_answer() -> None:
    inbox = KnownLog()
    assert inbox.newest == 0
    inbox.begin(4, [line(3), line(4)])
    assert inbox.newest == 4
    inbox.next_line(4)
    assert inbox.newest == 0


def test_no_line_is_next_before_a_gap_is_filled() -> None:
    inbox = KnownLog()
    inbox.begin(3, [line(3)])
    inbox.hear_of(5)
    assert inbox.next_line(0) is None
    inbox.take([line(4), line(5)])
    assert inbox.next_line(0) == line(3)


def test_an_inbox_knows_which_lines_are_ours_until_they_are_answered() -> None:
    inbox = KnownLog()
    inbox.begin(4, [line(3), line(4)])
    inbox.own(3)
    assert (inbox.is_ours(line(3)), inbox.is_ours(line(4))) == (True, False)
    inbox.next_line(3)
    assert not inbox.is_ours(line(3))


def test_an_inbox_is_behind_from_what_it_hears_until_it_has_it() -> None:
    inbox = KnownLog()
    inbox.begin(2, [])
    inbox.hear([])
    assert not inbox.is_behind
    inbox.hear([line(4)])
    inbox.hear([line(3)])
    assert inbox.is_behind
    assert inbox.take([line(3), line(4)]) is None
    assert not inbox.is_behind


def test_what_the_store_will_tell_need_not_be_remembered() -> None:
    inbox = KnownLog()
    inbox.hear([line(9)])
    inbox.forget()
    inbox.begin(2, [])
    assert not inbox.is_behind


def test_a_line_with_its_answer_is_passed_over_where_nothing_else_waits() -> None:
    inbox = KnownLog()
    inbox.begin(2, [])
    assert inbox.pass_over([line(3), ended(4, 3)])
    assert (inbox.head, inbox.lines, inbox.is_behind) == (4, [], False)
    assert not inbox.pass_over([line(6), ended(7, 6)]), "it does not join on"
    inbox.hear_of(5)
    assert not inbox.pass_over([line(5), ended(6, 5)]), "something was heard of that is not here"
    inbox.begin(4, [line(4)])
    assert not inbox.pass_over([line(5), ended(6, 5)]), "a line waits"
    assert inbox.head == 4
