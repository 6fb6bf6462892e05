"""The vocabulary of workflows: states, intents, buttons, and the step that answers one line.

A workflow is a table, checked when its module is imported. A step receives a Turn and yields outputs; it has no access
to the store, a socket or another session. No clock, randomness or I/O here: the Turn has time, ids and, for I/O, tools.

How the server answers a line:

1. if the line presses a button, (state, action) decides the intent;
2. if its text equals the value or the label of an open button, it counts as a press of that button;
3. for any other text the workflow's `classify` chooses one of the intents that the state allows;
4. the table gives the next state, and that state's step runs (the workflow's `answer` if the state stays the same).
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

#: Target of an intent that does not change the state; the workflow's `answer` runs.
STAY: Final = "@stay"
#: The intent of the turn that opens a session, and that of a press on a button that is no longer open.
OPEN: Final = "Open"
STALE: Final = "Stale_Action"
#: The default `fallback`: the intent of text that fits no other. Every state allows it and does not change.
OTHER: Final = "Other"


class Line(Struct, frozen=True):
    """A user's line as a step sees it.

    `action` is the value of the pressed button, or None. `words` is the text that the person wrote: "" when `text` is
    only the button's label or value. `at_ms` (UTC) is when the server received the line; it is the same in every
    attempt, and 0 in the turn that opens a session, which answers no line.
    """

    text: str
    words: str
    action: str | None = None
    at_ms: int = 0


class Frame(Struct, frozen=True):
    """A durable frame that a step yields. Set `message_id` only when the step itself needs the id, as for a link."""

    type: str
    payload: dict[str, Any]
    message_id: str | None = None


class Ask(Struct, frozen=True):
    """Ask the person to choose. The server makes an `action_request` with the buttons of the state the turn enters."""

    prompt: str


class Remember(Struct, frozen=True):
    """Change the session's memory when the turn commits; a value of None removes the key.

    Keys that begin with `@` belong to the server: a turn that changes one fails.
    """

    changes: dict[str, Any]


class Progress(Struct, frozen=True):
    """The progress of long work: a transient `status_update`. `progress` is 0–100, `estimated_time` in seconds."""

    text: str
    progress: int | None = None
    estimated_time: int | None = None
    status: str = "generating"


class Delta(Struct, frozen=True):
    """A piece of the text of the turn's next `chat_message`. Clients show it at once; the log never holds it."""

    text: str


Output = Frame | Ask | Remember | Progress | Delta


class Turn(Struct, frozen=True):
    """The input of a step.

    `state` is the state that the turn enters and `came_from` the one it leaves. `events` are the last events before
    the turn, oldest first, without user lines that came after its own. `memory` is the session's memory before the
    turn. `new_id` makes a fresh message id; `public_url` is the server's address for browsers, without a slash at the
    end.

    `now_ms` (UTC) is when this attempt began; it is constant while the step runs and differs between attempts. For a
    time that is the same in every attempt use `line.at_ms`. `tools` are the workflow's declared tools; a step that is
    a plain generator has none.

    `assistant` is the language model, or None when the server uses none. With one, `messages` are the messages before
    the turn, oldest first, `summary` is the summary of the messages before those, and `prompting` are the settings
    for prompts.
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

        `system` is the system prompt sent with them; its tokens count against the budget.
        """
        said = [*self.messages, Message("user", self.line.text)]
        limit, budget = self.prompting.context_limit, self.prompting.token_budget
        return choose_window(said, system=system, limit=limit, token_budget=budget, summary=self.summary).messages


#: A step that never waits is a plain generator: the server commits its line and its answer together and does not show
#: its Progress and Delta. A step that may wait is an asynchronous generator. A classifier that may wait is a coroutine
#: function, one that does not is a plain function.
Step = Callable[[Turn], AsyncIterator[Output] | Iterator[Output]]
Classify = Callable[[Turn, Sequence[str]], Coroutine[Any, Any, str] | str]
#: How the server treats a line that arrives while a turn runs: the line waits for the turn's end, cancels the turn, or
#: is refused.
WhenBusy = Literal["queue", "interrupt", "reject"]


@dataclass(frozen=True, slots=True)
class Button:
    """One choice of an action request. With `requires_input` the client asks for text and sends it with the press."""

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
    """The result of a step: the intent, the new state, and the frames and memory changes to commit."""

    intent: str
    to: str
    frames: tuple[Frame, ...]
    memory: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Workflow:
    """A conversation's table. Raises WorkflowError, with every complaint, when the table is wrong.

    `always` maps intents that every state allows to their targets. Three parts are optional:

    - `answer` is the step of a turn that stays in its state. The default lists the choices of the state and asks with
      its buttons again.
    - `classify` returns the intent of free text, one of those it is given. By default free text means the only intent
      of the state's own `on` that none of its buttons means; without such an intent, the fallback.
    - `fallback` is the intent of text that fits no other. The default is OTHER, which every state allows.

    `summary` makes additional fields of `sync_response` from the memory. `frames` maps the types of the workflow's own
    frames to functions that describe a payload in one line for operators; `page` says which type is published and how
    its page is rendered. `context` is the number of last events that a step receives. `when_busy` says how the server
    treats a line that arrives while a turn runs. `legacy_state` returns the state's name for clients without the
    subprotocol, given the state's name and the memory. `tools` are the tools that steps may call: names with functions
    that open them, or ToolSpecs.
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
        """The button with this value, in any state; None if there is none."""
        return self._buttons.get(value)

    def allowed(self, state: State) -> Mapping[str, str]:
        """Intent → target, for every intent that the state allows."""
        return self._allowed[state.name]

    def text_intents(self, state: State) -> list[str]:
        """The intents of the state's own `on` that only free text can mean, because none of its buttons does."""
        pressed = {button.intent for button in state.buttons}
        return [intent for intent in state.on if intent not in pressed and intent != self.fallback]

    def read_line(self, text: str, action: str | None, at_ms: int = 0) -> Line:
        """Make a Line, received at `at_ms` (UTC). Its `words` are "" when the text only names the pressed button."""
        button = self.button(action) if action else None
        spoken = button is not None and _fold(text) in (_fold(button.label), _fold(button.value))
        return Line(text=text, words="" if spoken else text, action=action, at_ms=at_ms)

    def decide(self, state: State, line: Line) -> str | None:
        """The intent of the line's button; STALE if the state has no such button; None for a line without a button."""
        for button in state.buttons:
            if line.action == button.value:
                return button.intent
        if line.action is not None:
            return STALE
        return None

    def find_action(self, state_name: str, text: str) -> str | None:
        """The value of the button that `text` names, or None: by value or label in this state, by value in any other.

        Older frontends send a button's value as the text, and people do not write such values themselves.
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
