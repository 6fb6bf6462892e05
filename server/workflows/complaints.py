"""Checks a workflow's table: each complaint says where the mistake is, why it is one, and how to mend it.

Workflow calls this from its constructor and imports this module, so this module describes it by protocols.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, Protocol

from server.records import COMMON_TYPES, SYSTEM_TYPES
from server.workflows.page import Page

#: A name stands in addresses, as `?workflow=NAME`.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NAME_RULE: Final = "1 to 64 letters, digits, '-' and '_', as it stands in addresses"
_PATH: Final = re.compile("[a-z0-9-]{1,40}")


class _Button(Protocol):
    @property
    def value(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def intent(self) -> str: ...


class _State(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def run(self) -> Any: ...
    @property
    def on(self) -> Mapping[str, str]: ...
    @property
    def buttons(self) -> Sequence[_Button]: ...
    @property
    def final(self) -> bool: ...


class _Table(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def start(self) -> str: ...
    @property
    def states(self) -> Sequence[_State]: ...
    @property
    def answer(self) -> Any: ...
    @property
    def classify(self) -> Any: ...
    @property
    def fallback(self) -> str: ...
    @property
    def always(self) -> Mapping[str, str]: ...
    @property
    def frames(self) -> Mapping[str, Any]: ...
    @property
    def page(self) -> Page | None: ...
    @property
    def context(self) -> int: ...
    @property
    def when_busy(self) -> str: ...
    def button(self, value: str, /) -> _Button | None: ...
    def find_action(self, state_name: str, text: str, /) -> str | None: ...
    def allowed(self, state: Any, /) -> Mapping[str, str]: ...
    def text_intents(self, state: Any, /) -> list[str]: ...


def find_wrong_types(workflow: _Table, state_type: type[Any], button_type: type[Any]) -> list[str]:
    """Complaints about parts of a wrong type. `find_complaints` needs a table without them."""
    return list(_wrong_types(workflow, state_type, button_type))


def find_complaints(workflow: _Table, *, stay: str, policies: Sequence[str]) -> list[str]:
    """All other complaints about a table. `stay` is the target of an intent that does not change the state.

    `policies` are the valid values of `when_busy`.
    """
    targets = {stay, *(state.name for state in workflow.states)}
    return [
        *_about_workflow(workflow, targets, policies),
        *_about_frames(workflow),
        *_about_states(workflow, targets, stay),
        *_about_buttons(workflow),
        *_about_ways(workflow),
    ]


def _wrong_types(workflow: _Table, state_type: type[Any], button_type: type[Any]) -> Iterator[str]:
    if not isinstance(workflow.always, Mapping):
        yield f"`always` is a {_kind(workflow.always)}: it maps intents to states, as {{'Help': STAY}}"
    if not _is_list(workflow.states):
        yield f"`states` is a {_kind(workflow.states)}: it is a list, as [State('HELLO', greet, …), …]"
        return
    for number, state in enumerate(workflow.states, 1):
        if not isinstance(state, state_type):
            yield f"state number {number} is a {_kind(state)}: write State(name, step, on={{intent: state}})"
            continue
        if not isinstance(state.on, Mapping):
            yield f"state {state.name}: `on` is a {_kind(state.on)}: it maps intents to states, as {{'Yes': 'NEXT'}}"
        if not _is_list(state.buttons):
            yield f"state {state.name}: `buttons` is a {_kind(state.buttons)}: it is a list, as [Button(…), …]"
            continue
        for button in state.buttons:
            if not isinstance(button, button_type):
                yield f"state {state.name}: a button is a {_kind(button)}: write Button(value, label, intent)"


def _about_workflow(workflow: _Table, targets: set[str], policies: Sequence[str]) -> Iterator[str]:
    names = [state.name for state in workflow.states]
    if not _NAME.fullmatch(workflow.name):
        yield f"the name {workflow.name!r} cannot be used: a name has {_NAME_RULE}"
    if workflow.when_busy not in policies:
        yield f"when_busy is {workflow.when_busy!r}, and can be {', '.join(policies)}"
    if workflow.context < 0:
        yield f"context is {workflow.context}: it is a number of events, 0 or more"
    if workflow.start not in names:
        yield f"start is {workflow.start!r}, and there is no such state{_meant(workflow.start, names)}"
    yield from (f"state {name} is there twice: give each a name of its own" for name in _repeated(names))
    yield from _about_step("answer", workflow.answer)
    if workflow.classify is not None and _yields(workflow.classify):
        yield "classify yields: it returns the name of one intent"
    for intent, target in workflow.always.items():
        yield from _about_target("always", intent, target, targets)


def _about_frames(workflow: _Table) -> Iterator[str]:
    for name in sorted((COMMON_TYPES | SYSTEM_TYPES) & workflow.frames.keys()):
        yield f"frames: every workflow has {name}, so take it out"
    page = workflow.page
    if page is not None and page.frame_type not in workflow.frames:
        yield f"page: its type {page.frame_type!r} is not in `frames`{_meant(page.frame_type, workflow.frames)}: add it"
    if page is not None and not _PATH.fullmatch(page.path):
        yield f"page: its path is {page.path!r}: it is one word of 1 to 40 characters of a-z, 0-9 and -"


def _about_states(workflow: _Table, targets: set[str], stay: str) -> Iterator[str]:
    for state in workflow.states:
        where = f"state {state.name}"
        yield from _about_step(f"{where}: its step", state.run)
        for intent, target in state.on.items():
            yield from _about_target(where, intent, target, targets)
        if workflow.fallback not in workflow.allowed(state):
            yield (
                f"{where} does not understand the fallback {workflow.fallback!r}: add it to `always`, as"
                f" {{{workflow.fallback!r}: STAY}}, or leave `fallback` out"
            )
        if not state.final and not any(target not in (stay, state.name) for target in state.on.values()):
            yield f"{where} has no way out: let an intent of its `on` lead to another state, or say final=True"
        untold = workflow.text_intents(state)
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


def _about_buttons(workflow: _Table) -> Iterator[str]:
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
            for name in (button.value, button.label):
                other = workflow.find_action(state.name, name)
                if other is not None and other != button.value:
                    yield f"{where}: {name!r} names the buttons {other!r} and {button.value!r}: name one anew"


def _about_ways(workflow: _Table) -> Iterator[str]:
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
    """Whether a function cannot be a step: it is annotated to return None, and it does not yield."""
    return not _yields(function) and function.__annotations__.get("return", Any) in (None, "None")


def _yields(function: Any) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _about_target(where: str, intent: str, target: str, targets: Iterable[str]) -> Iterator[str]:
    if target not in targets:
        yield f"{where}: {intent!r} leads to {target!r}, and there is no such state{_meant(target, targets)}"


def _reachable(workflow: _Table) -> set[str]:
    by_name = {state.name: state for state in workflow.states}
    reached, frontier = set[str](), [workflow.start]
    while frontier:
        name = frontier.pop()
        if name in reached or name not in by_name:
            continue
        reached.add(name)
        frontier += workflow.allowed(by_name[name]).values()
    return reached


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _meant(name: str, known: Iterable[str]) -> str:
    """A question that suggests the most similar known name; "" when none is similar."""
    near = get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _either(names: Sequence[str]) -> str:
    return " or ".join(map(repr, names))


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _kind(value: object) -> str:
    return type(value).__name__
