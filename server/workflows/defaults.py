"""The default `classify` and `answer` of a workflow. Both use the table alone."""

from collections.abc import Iterator

from server.workflows.table import STALE, Ask, Output, State, Turn, Workflow, chat


def classify_by_table(workflow: Workflow, state: State) -> str:
    """The intent of free text: the state's only intent of its own that no button of it means, else the fallback."""
    return (*workflow.text_intents(state), workflow.fallback)[0]


def answer_by_choices(workflow: Workflow, turn: Turn) -> Iterator[Output]:
    """List the choices of the turn's state and ask with its buttons again."""
    state = workflow.state(turn.state)
    reason = "That choice is no longer open." if turn.intent == STALE else "I did not understand that."
    if state.buttons:
        labels = ", ".join(button.label for button in state.buttons)
        yield chat(f"{reason} You can choose here: {labels}.")
        yield Ask("What would you like to do?")
    elif workflow.text_intents(state):
        yield chat(f"{reason} Please write it in other words.")
    else:
        yield chat("This conversation is finished. Start a new one to begin again.")
