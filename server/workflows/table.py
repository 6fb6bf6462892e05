"""The vocabulary of workflows: states, intents, buttons, and the step that answers one line.

A workflow is a table; it is checked when it is imported. A step sees a Turn and yields outputs; it never sees the
store, a socket or another session. No clock, randomness or I/O here: they arrive with the Turn, I/O as its tools.

How a line becomes a move:

1. a button press is decided by (state, action), before anything else;
2. text that equals the value or the label of an open button is that button;
3. any other text is classified by the workflow, among the intents that the state allows;
4. the table gives the state to enter, and that state's step runs (the workflow's `answer` when it stays).
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from msgspec import Struct

from server.assistant import OUR_PROMPTS, Assistant, Message, Prompting
from server.assistant.window import choose_window
from server.errors import ErrorCode, StepError, WorkflowError
from server.records import CHAT_MESSAGE, Event
from server.workflows.complaints import find_complaints, find_wrong_types
from server.workflows.page import Page
from server.workflows.tools import NO_TOOLS, OpenTool, Tools, ToolSpec, complain_of_tools, declared_tools

#: Target of an intent that leaves the state as it is; the workflow's `answer` runs.
STAY: Final = "@stay"
#: The intent of the turn that opens a session, and of a press on a button that is no longer there.
OPEN: Final = "Open"
STALE: Final = "Stale_Action"
#: The intent of text that fits no other, where a workflow names none: every state understands it and stays as it is.
OTHER: Final = "Other"


class Line(Struct, frozen=True):
    """A user's line as a step sees it.

    `action` is the value of the button that was pressed, if one was. `words` is what the person wrote themselves: the
    text, or "" when the text is merely a button's label or value. `at_ms` (UTC) is when the server received the line,
    the same in every attempt; 0 in the turn that opens a session, which answers no line.
    """

    text: str
    words: str
    action: str | None = None
    at_ms: int = 0


class Frame(Struct, frozen=True):
    """A durable frame that a step says. `message_id` is given only where something must know it beforehand."""

    type: str
    payload: dict[str, Any]
    message_id: str | None = None


class Ask(Struct, frozen=True):
    """Ask the person to choose: becomes an `action_request` with the buttons of the state that the turn enters."""

    prompt: str


class Remember(Struct, frozen=True):
    """Change the session's memory with the turn; a value of None forgets the key.

    Keys that begin with `@` are the server's own: a turn that changes one fails.
    """

    changes: dict[str, Any]


class Progress(Struct, frozen=True):
    """How far long work is: a transient `status_update`. `progress` is 0–100, `estimated_time` in seconds."""

    text: str
    progress: int | None = None
    estimated_time: int | None = None
    status: str = "generating"


class Delta(Struct, frozen=True):
    """A piece of the text that the turn's next `chat_message` will carry; shown at once, stored never."""

    text: str


Output = Frame | Ask | Remember | Progress | Delta


class Turn(Struct, frozen=True):
    """What a step sees.

    `state` is the state that the turn enters and `came_from` the one it leaves. `events` are the last events before
    the turn, oldest first: of what was said by then, all but the lines behind its own. `memory` is as it was before the
    turn. `new_id` makes a fresh message id; `public_url` is this server's address as browsers know it, without a slash
    at the end.

    `now_ms` (UTC) is when this attempt began; it does not move while the step runs, and is another one in each attempt.
    What must be the same in every attempt counts from `line.at_ms`. `tools` are those that the workflow declares, for
    a step that may wait; one that never waits has none.

    `assistant` is the language model, None where there is only what the workflow knows by itself; with one, `messages`
    is what was said before the turn, oldest first, `summary` that of what was said before them, and `prompting` what
    the settings say of prompts.
    """

    session_id: str
    number: int
    attempt: int
    line: Line
    intent: str
    came_from: str
    state: str
    memory: Mapping[str, Any]
    events: Sequence[Event]
    new_id: Callable[[], str]
    public_url: str
    now_ms: int = 0
    tools: Tools = NO_TOOLS
    assistant: Assistant | None = None
    messages: Sequence[Message] = ()
    summary: str = ""
    prompting: Prompting = OUR_PROMPTS

    @property
    def now(self) -> datetime:
        """`now_ms` as a time in UTC."""
        return datetime.fromtimestamp(self.now_ms / 1000, UTC)

    def window(self, system: str = "") -> tuple[Message, ...]:
        """The messages of a prompt: the summary, the last messages before the line within the bounds, and the line.

        `system` is the system prompt that goes with them, which takes its part of the budget.
        """
        said = [*self.messages, Message("user", self.line.text)]
        limit, budget = self.prompting.context_limit, self.prompting.token_budget
        return choose_window(said, system=system, limit=limit, token_budget=budget, summary=self.summary).messages


#: A step that never waits is a plain generator: then its line and its answer are one commit, and what it shows on the
#: way is not shown, as it is over at once. One that may wait is an asynchronous generator. So with the classifier.
Step = Callable[[Turn], AsyncIterator[Output] | Iterator[Output]]
Classify = Callable[[Turn, Sequence[str]], Coroutine[Any, Any, str] | str]
#: What becomes of a line that comes while a turn is under way: it waits for the turn's end, it ends the turn, or it is
#: refused.
WhenBusy = Literal["queue", "interrupt", "reject"]


@dataclass(frozen=True, slots=True)
class Button:
    """One choice of an action request. With `requires_input` the person's words come with it."""

    value: str
    label: str
    intent: str
    primary: bool = False
    requires_input: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """A state: the step that runs when a turn enters it, where its intents lead, and its buttons.

    A `final` state needs no way out of its own.
    """

    name: str
    run: Step
    on: Mapping[str, str] = field(default_factory=dict)
    buttons: Sequence[Button] = ()
    final: bool = False


class Result(Struct, frozen=True):
    """What a step amounts to: the move and everything that is committed with it."""

    intent: str
    to: str
    frames: tuple[Frame, ...]
    memory: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Workflow:
    """A conversation's table. Raises WorkflowError, with every complaint, when the table cannot work.

    `always` are intents that every state understands. Three parts may be left out:

    - `answer` speaks when a turn stays in its state. Without one, the person reads what can be done here, and gets the
      open buttons again.
    - `classify` names the intent of free text among those it is given. Without one, free text means the only intent of
      the state's own `on` that no button of the state means; where there is none, the fallback.
    - `fallback` is the intent of text that fits none. Without one it is OTHER, which every state understands.

    `summary` makes of the memory what `sync_response` tells besides. `frames` are the types of the workflow's own
    frames, each with a function that puts its payload into one line for operators; `page` says which of them is
    published, and how. `context` is how many of the last events a step wants. `when_busy` is what becomes of a line
    that comes while an answer is under way. `legacy_state` makes of a state's name and the memory the name that clients
    without the subprotocol know. `tools` are those that its steps may call: a name and how to open it, or
    ToolSpecs.
    """

    name: str
    start: str
    states: Sequence[State]
    answer: Step | None = None
    classify: Classify | None = None
    fallback: str = OTHER
    always: Mapping[str, str] = field(default_factory=dict)
    summary: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda _: {}
    frames: Mapping[str, Callable[[Mapping[str, Any]], str]] = field(default_factory=dict)
    page: Page | None = None
    context: int = 0
    when_busy: WhenBusy = "queue"
    legacy_state: Callable[[str, Mapping[str, Any]], str] = lambda state, _: state
    tools: Mapping[str, OpenTool] | Sequence[ToolSpec] = ()
    _states: dict[str, State] = field(default_factory=dict, init=False, repr=False)
    _allowed: dict[str, Mapping[str, str]] = field(default_factory=dict, init=False, repr=False)
    _buttons: dict[str, Button] = field(default_factory=dict, init=False, repr=False)
    _values: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _tools: dict[str, ToolSpec] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            if wrong_types := find_wrong_types(self, State, Button):
                raise WorkflowError(str(self.name), wrong_types)
            self._index()
        except (TypeError, AttributeError, ValueError) as error:
            raise WorkflowError(str(self.name), [f"a value of the table has a wrong type: {error}"]) from error

    def _index(self) -> None:
        implied = {OTHER: STAY} if self.fallback == OTHER else {}
        self._states.update((state.name, state) for state in self.states)
        self._allowed.update((state.name, {**implied, **self.always, **state.on}) for state in self.states)
        for button in (button for state in self.states for button in state.buttons):
            self._buttons.setdefault(button.value, button)
            self._values.setdefault(_fold(button.value), button.value)
        self._tools.update((tool.name, tool) for tool in declared_tools(self.tools))
        complaints = find_complaints(self, stay=STAY, policies=get_args(WhenBusy))
        if complaints := complaints + complain_of_tools(self.tools):
            raise WorkflowError(self.name, complaints)

    @property
    def declared(self) -> Mapping[str, ToolSpec]:
        """Name → tool, for every tool that the steps may call."""
        return self._tools

    def state(self, name: str) -> State:
        """The state of this name. Raises StepError when the table has none (a stored state of an older table)."""
        if (state := self._states.get(name)) is not None:
            return state
        raise StepError(ErrorCode.STEP_FAILED, f"workflow {self.name} has no state {name}")

    def button(self, value: str) -> Button | None:
        """The button of this value, in whichever state it stands."""
        return self._buttons.get(value)

    def allowed(self, state: State) -> Mapping[str, str]:
        """Intent → target, for everything that the state understands."""
        return self._allowed[state.name]

    def text_intents(self, state: State) -> list[str]:
        """The intents of a state's own `on` that only free text can mean: no button of the state means them."""
        pressed = {button.intent for button in state.buttons}
        return [intent for intent in state.on if intent not in pressed and intent != self.fallback]

    def read_line(self, text: str, action: str | None, at_ms: int = 0) -> Line:
        """A line with its own words told apart from a button's label or value; received at `at_ms` (UTC)."""
        button = self.button(action) if action else None
        spoken = button is not None and _fold(text) in (_fold(button.label), _fold(button.value))
        return Line(text=text, words="" if spoken else text, action=action, at_ms=at_ms)

    def decide(self, state: State, line: Line) -> str | None:
        """The intent of a button, pressed or typed; STALE for a button of another state; None for free text."""
        for button in state.buttons:
            if line.action == button.value:
                return button.intent
        if line.action is not None:
            return STALE
        return None

    def find_action(self, state_name: str, text: str) -> str | None:
        """The value of the button that this text names: by value or label in the state, by value elsewhere.

        Older frontends send a button's value as the text, and a value is never a topic.
        """
        same = _fold(text)
        here = self._states.get(state_name)
        for button in here.buttons if here else ():
            if same in (_fold(button.value), _fold(button.label)):
                return button.value
        return self._values.get(same)


def chat(text: str, *, sub_title: str | None = None, list_items: Sequence[str] | None = None) -> Frame:
    """A `chat_message` frame in Markdown."""
    items = list(list_items) if list_items is not None else None
    return Frame(CHAT_MESSAGE, {"text": text, "sub_title": sub_title, "list_items": items, "format": "markdown"})


def _fold(text: str) -> str:
    return " ".join(text.split()).casefold()
