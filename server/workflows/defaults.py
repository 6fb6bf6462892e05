"""What a workflow does where its author says nothing: an answer that shows the choices, and a reading of free text.

Both are made of the table alone.
"""

from collections.abc import Iterator, Sequence

from server.workflows.table import STALE, Ask, Classify, Output, State, Step, Turn, Workflow, chat


def answer_by_choices(workflow: Workflow) -> Step:
    """A step that says what can be done in the turn's state, and asks with its buttons again."""

    def answer(turn: Turn) -> Iterator[Output]:
        state = workflow.state(turn.state)
        reason = "That choice is no longer open." if turn.intent == STALE else "I did not understand that."
        if state.buttons:
            labels = ", ".join(button.label for button in state.buttons)
            yield chat(f"{reason} You can choose here: {labels}.")
            yield Ask("What would you like to do?")
        elif text_intents(workflow, state):
            yield chat(f"{reason} Please write it in other words.")
        else:
            yield chat("This conversation is finished. Start a new one to begin again.")

    return answer


def classify_by_table(workflow: Workflow) -> Classify:
    """A classifier that gives free text the state's only intent of its own that no button means, else the fallback."""
    of_text = {state.name: (*text_intents(workflow, state), workflow.fallback)[0] for state in workflow.states}

    def classify(turn: Turn, _allowed: Sequence[str]) -> str:
        return of_text[turn.came_from]

    return classify


def text_intents(workflow: Workflow, state: State) -> list[str]:
    """The intents of a state's own `on` that only free text can mean: no button of the state means them."""
    pressed = {button.intent for button in state.buttons}
    return [intent for intent in state.on if intent not in pressed and intent != workflow.fallback]
