"""The past of a conversation: when it is folded, what a fold takes, and that nothing is ever lost between the two."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.assistant import Message
from server.assistant.past import MOST_CHARS, Fold, Past, choose_fold, due, recall_said, recall_summary
from server.assistant.tokens import estimate_tokens
from server.assistant.window import Window, choose_window
from server.records import Event
from server.server_memory import SUMMARY_KEY
from tests.assistant.calls import assistant_said, person

PLENTY = 1_000_000


def waiting(count: int, chars: int = 4) -> list[Message]:
    return [person("x" * chars)] * count


@pytest.mark.parametrize(
    ("count", "limit", "folded"),
    [(0, 20, 0), (17, 20, 0), (18, 20, 8), (50, 20, 40), (1, 4, 0), (2, 4, 1), (0, 1, 1), (2, 1, 2), (197, 200, 0)],
)
def test_it_is_folded_before_the_next_line_finds_the_window_full(count: int, limit: int, folded: int) -> None:
    assert due(waiting(count), "line", limit=limit, room=PLENTY) == (folded if count else 0)


@pytest.mark.parametrize(
    ("count", "line", "room", "folded"),
    [(2, 1, 4, 0), (2, 2, 4, 2), (8, 1, 12, 0), (9, 1, 12, 4), (9, 7, 12, 9), (9, 0, 0, 9), (0, 9, 0, 0)],
)
def test_it_is_folded_before_a_quarter_of_the_room_is_left(count: int, line: int, room: int, folded: int) -> None:
    """Every message is one token here; half of the room is kept, with the line in it."""
    assert due(waiting(count), "x" * 4 * line, limit=200, room=room) == folded


class Conversation:
    """A conversation, turn by turn; its summary is the numbers of the messages in it."""

    def __init__(self, limit: int, token_budget: int = PLENTY) -> None:
        self.limit, self.token_budget = limit, token_budget
        self.past = Past(said=((1, assistant_said("0")),))
        self.seq, self.count, self.folds = 2, 1, list[Fold]()

    def turn(self, *, chars: int = 1, answers: int = 1, is_called: bool = True) -> Window:
        """Say a line, and be answered; returns the line's window."""
        line_seq, line = self._next("user", chars)
        window = choose_window(
            [*self.past.messages, line], system="", limit=self.limit, token_budget=self.token_budget,
            summary=self.past.summary,
        )  # fmt: skip
        past = self.past
        budget = self.token_budget
        fold = choose_fold(past, line.text, before=line_seq, system="", limit=self.limit, token_budget=budget)
        said = (*past.said, (line_seq, line), *(self._next("assistant", chars) for _ in range(answers)))
        self.seq += 1  # the state_update
        if fold is not None and is_called:
            self.folds.append(fold)
            text = " ".join([past.summary, *(message.text.strip("x") for message in fold.messages)]).strip()
            said = tuple(one for one in said if one[0] > fold.through)
            self.past = Past(text[-20:], fold.through, said)
        else:
            self.past = Past(past.summary, past.through, said)
        return window

    def _next(self, role: Any, chars: int) -> tuple[int, Message]:
        self.seq, self.count = self.seq + 1, self.count + 1
        return self.seq, Message(role, str(self.count - 1).ljust(chars, "x"))


@pytest.mark.parametrize("limit", [4, 5, 7, 20, 200])
def test_its_cost_does_not_grow_with_the_conversation(limit: int) -> None:
    """Over 1,000 turns: no message is in neither summary nor window, and a summary is rare and short."""
    conversation = Conversation(limit)
    for _ in range(1_000):
        assert conversation.turn().used.left_out == 0
    folded = [int(message.text) for fold in conversation.folds for message in fold.messages]
    assert folded == list(range(len(folded)))
    assert len(folded) + len(conversation.past.said) == conversation.count
    assert max(len(fold.messages) for fold in conversation.folds) <= max(3, limit // 2)
    assert len(conversation.folds) <= 2_000 // max(1, limit // 2 - 3) + 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 4), st.booleans()), max_size=60), st.integers(1, 30))
def test_nothing_is_skipped_or_folded_twice(turns: list[tuple[int, int, bool]], limit: int) -> None:
    """Whatever is said, and in whichever turns a model is called: what is folded is what was said, in its order."""
    conversation = Conversation(limit, token_budget=400)
    for chars, answers, is_called in turns:
        conversation.turn(chars=chars, answers=answers, is_called=is_called)
    folded = [int(message.text.split(" ")[0].strip("x")) for fold in conversation.folds for message in fold.messages]
    still = [int(message.text.strip("x")) for message in conversation.past.messages]
    assert folded + still == list(range(conversation.count))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 200), max_size=60))
def test_nothing_is_left_out_while_turns_are_short_against_the_budget(turns: list[int]) -> None:
    """A turn of at most a quarter of the room (what is left besides a summary): always in the window or the summary."""
    conversation = Conversation(200, token_budget=600)
    for chars in turns:
        assert conversation.turn(chars=chars).used.left_out == 0


def fold_of(said: list[tuple[int, Message]], *, before: int = 1_000, budget: int = PLENTY, summary: str = "") -> Fold:
    past = Past(summary, 0, tuple(said))
    fold = choose_fold(past, "line", before=before, system="", limit=1, token_budget=budget)
    assert fold is not None
    return fold


def test_a_fold_is_bounded() -> None:
    """400 tokens of budget: 1,600 characters, of a message 400."""
    fold = fold_of([(seq, person(str(seq) * 900)) for seq in range(1, 10)], budget=400)
    assert [len(message.text) for message in fold.messages] == [399] * 4
    assert (fold.through, fold.most_chars) == (4, 400)
    assert fold.messages[1].text.startswith("2222")
    assert fold.messages[1].text.endswith("2222")
    assert " … " in fold.messages[1].text
    assert fold_of([(1, person("x"))]).most_chars == MOST_CHARS


def test_the_least_budget_still_folds() -> None:
    assert fold_of([(1, person("long " * 100)), (2, person("more"))], budget=1).through == 1


def test_a_line_that_still_waits_is_not_passed_over() -> None:
    """Lines 3 and 4 came at once: the answer to 3 is event 5, but 4 is not in the past of its own turn."""
    said = [(2, assistant_said("Welcome.")), (3, person("A")), (5, assistant_said("to A"))]
    assert fold_of(said, before=4).through == 3


def test_the_summary_and_the_system_prompt_take_their_part_of_the_room() -> None:
    past = Past(said=tuple((seq, person("x" * 40)) for seq in range(1, 11)))  # 100 tokens

    def folds(system: str, budget: int) -> bool:
        return choose_fold(past, "x" * 4, before=99, system=system, limit=200, token_budget=budget) is not None

    assert [folds("", budget) for budget in (179, 180)] == [True, False]
    assert [folds("x" * 400, budget) for budget in (313, 314)] == [True, False]


def test_nothing_said_is_nothing_to_fold() -> None:
    assert choose_fold(Past(), "line", before=9, system="", limit=1, token_budget=1) is None


@pytest.mark.parametrize(
    "kept", [None, "text", 3, [], {}, {"through": 3}, {"text": "x"}, {"through": "3", "text": "x"}, {"topic": "tea"}]
)
def test_what_is_no_summary_is_none(kept: Any) -> None:
    assert recall_summary({SUMMARY_KEY: kept}) == recall_summary({}) == Past()


def event(seq: int, turn: int, role: str, text: str) -> Event:
    return Event(
        session_id="s", type="chat_message", role=role, message_id=f"m{seq}", payload={"text": text}, created_at=seq,
        seq=seq, turn=turn,
    )  # fmt: skip


def test_what_was_said_has_the_answers_that_came_behind_the_line_but_no_later_line() -> None:
    events = [
        event(3, 3, "user", "A"), event(4, 4, "user", "B"), event(5, 5, "user", "C"), event(6, 3, "assistant", "to A")
    ]  # fmt: skip
    past = recall_said(recall_summary({SUMMARY_KEY: {"through": 2, "text": "tea"}}), events, 4)
    assert past == Past("tea", 2, ((3, person("A")), (6, assistant_said("to A"))))
    assert estimate_tokens(len(past.summary)) == 1
