"""What can be wrong with a workflow's table: each complaint says where, what is wrong, and what would be right."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args

from server.workflows.defaults import text_intents
from server.workflows.table import STAY, Button, State, WhenBusy, Workflow, fold

#: A name stands in addresses, as `?workflow=NAME`.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NAME_RULE: Final = "1 to 64 letters, digits, '-' and '_', as it stands in addresses"


def find_wrong_types(workflow: Workflow) -> list[str]:
    """The complaints about parts that are not of their type; with one of these, nothing else can be read."""
    return list(_wrong_types(workflow))


def find_complaints(workflow: Workflow) -> list[str]:
    """Everything else that is wrong with a workflow's table."""
    return [*_about_workflow(workflow), *_about_states(workflow), *_about_buttons(workflow), *_about_ways(workflow)]


def _wrong_types(workflow: Workflow) -> Iterator[str]:
    if not isinstance(workflow.always, Mapping):
        yield f"`always` is a {_kind(workflow.always)}: it maps intents to states, as {{'Help': STAY}}"
    if not _is_list(workflow.states):
        yield f"`states` is a {_kind(workflow.states)}: it is a list, as [State('HELLO', greet, …), …]"
        return
    for number, state in enumerate(workflow.states, 1):
        if not isinstance(state, State):
            yield f"state number {number} is a {_kind(state)}: write State(name, step, on={{intent: state}})"
            continue
        if not isinstance(state.on, Mapping):
            yield f"state {state.name}: `on` is a {_kind(state.on)}: it maps intents to states, as {{'Yes': 'NEXT'}}"
        if not _is_list(state.buttons):
            yield f"state {state.name}: `buttons` is a {_kind(state.buttons)}: it is a list, as [Button(…), …]"
            continue
        for button in state.buttons:
            if not isinstance(button, Button):
                yield f"state {state.name}: a button is a {_kind(button)}: write Button(value, label, intent)"


def _about_workflow(workflow: Workflow) -> Iterator[str]:
    names = [state.name for state in workflow.states]
    if not _NAME.fullmatch(workflow.name):
        yield f"the name {workflow.name!r} cannot be used: a name has {_NAME_RULE}"
    if workflow.when_busy not in get_args(WhenBusy):
        yield f"when_busy is {workflow.when_busy!r}, and can be {', '.join(get_args(WhenBusy))}"
    if workflow.context < 0:
        yield f"context is {workflow.context}: it is a number of events, 0 or more"
    if workflow.start not in names:
        yield f"start is {workflow.start!r}, and there is no such state{_meant(workflow.start, names)}"
    yield from (f"state {name} is there twice: give each a name of its own" for name in _repeated(names))
    yield from _about_step("answer", workflow.answer)
    if workflow.classify is not None and _yields(workflow.classify):
        yield "classify yields: it returns the name of one intent"
    for intent, target in workflow.always.items():
        yield from _about_target("always", intent, target, names)


def _about_states(workflow: Workflow) -> Iterator[str]:
    names = [state.name for state in workflow.states]
    for state in workflow.states:
        where = f"state {state.name}"
        yield from _about_step(f"{where}: its step", state.run)
        for intent, target in state.on.items():
            yield from _about_target(where, intent, target, names)
        if workflow.fallback not in workflow.allowed(state):
            yield (
                f"{where} does not understand the fallback {workflow.fallback!r}: add it to `always`, as"
                f" {{{workflow.fallback!r}: STAY}}, or leave `fallback` out"
            )
        if not state.final and not any(target not in (STAY, state.name) for target in state.on.values()):
            yield f"{where} has no way out: let an intent of its `on` lead to another state, or say final=True"
        untold = text_intents(workflow, state)
        if workflow.classify is None and len(untold) > 1:
            yield (
                f"{where}: free text could mean {_either(untold)}: give the workflow a `classify` that tells them"
                " apart, or each of them a button but one"
            )
    if workflow.classify is None:
        pressed = {button.intent for state in workflow.states for button in state.buttons}
        for intent in workflow.always:
            if intent != workflow.fallback and intent not in pressed:
                yield f"always: nothing can mean {intent!r}: give it a button, or the workflow a `classify`"


def _about_buttons(workflow: Workflow) -> Iterator[str]:
    different = set[str]()
    for state in workflow.states:
        where, allowed = f"state {state.name}", workflow.allowed(state)
        for button in state.buttons:
            if not button.value.strip() or not button.label.strip():
                yield f"{where}: a button has the value {button.value!r} and the label {button.label!r}: give it both"
            if button.intent not in allowed:
                yield (
                    f"{where}: button {button.value!r} means {button.intent!r}, which leads nowhere: add it to the"
                    f" state's `on`{_meant(button.intent, allowed)}"
                )
            known = workflow.button(button.value)
            if known != button and button.value not in different:
                different.add(button.value)
                yield f"button {button.value!r} differs from state to state: make them the same, or name one anew"
        named = [name for button in state.buttons for name in {fold(button.value), fold(button.label)}]
        for name in _repeated(named):
            yield f"{where}: two buttons are called {name!r}: who types it could mean either, so name one anew"


def _about_ways(workflow: Workflow) -> Iterator[str]:
    if workflow.start not in {state.name for state in workflow.states}:
        return
    reached = _reachable(workflow)
    for state in workflow.states:
        if state.name not in reached:
            yield f"state {state.name} cannot be reached: let an intent of another state lead to it, or take it out"


def _about_step(what: str, step: Any) -> Iterator[str]:
    if step is not None and not callable(step):
        yield f"{what} is a {_kind(step)}: it is a function that takes a Turn and yields outputs"
    elif inspect.iscoroutinefunction(step):
        yield f"{what}, {step.__name__}, yields nothing: an `async def` without `yield` is no step"
    elif inspect.isfunction(step) and _returns_nothing(step):
        yield f"{what}, {step.__name__}, yields nothing: say something with `yield chat(…)`"


def _returns_nothing(function: Any) -> bool:
    """Whether a function is sure to be no step: it says itself that it returns None, and it does not yield."""
    return not _yields(function) and function.__annotations__.get("return", Any) in (None, "None")


def _yields(function: Any) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _about_target(where: str, intent: str, target: str, names: Sequence[str]) -> Iterator[str]:
    if target != STAY and target not in names:
        yield f"{where}: {intent!r} leads to {target!r}, and there is no such state{_meant(target, names)}"


def _reachable(workflow: Workflow) -> set[str]:
    by_name = {state.name: state for state in workflow.states}
    reached, frontier = set[str](), [workflow.start]
    while frontier:
        name = frontier.pop()
        if name in reached or name not in by_name:
            continue
        reached.add(name)
        frontier += [target for target in workflow.allowed(by_name[name]).values() if target != STAY]
    return reached


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _meant(name: str, known: Iterable[str]) -> str:
    """A question that names the nearest known name, or nothing."""
    near = get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _either(names: Sequence[str]) -> str:
    return " or ".join(map(repr, names))


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _kind(value: object) -> str:
    return type(value).__name__
