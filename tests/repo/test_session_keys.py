"""A session is named by its owner and its id together, as a SessionKey: neither travels alone, nor in a bare tuple."""

import ast
import inspect
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from server.broker import Broker, Listener
from server.engine.leases import Leases
from server.records import SessionKey, Write
from server.store import Store
from server.store.library import FullStore, Library

SERVER: Final = Path(__file__).parents[2] / "server"
#: What may not know a session by its id alone.
ROOMS: Final = ("store", "broker", "engine")
#: Functions there that take an id without its owner, and why.
ALONE: Final = {
    "store/inspect/contract.py:owners": "an operator knows the id alone, and asks whose it is",
    "store/inspect/remote.py:owners": "an operator's",
    "store/inspect/remote.py:owners_arguments": "an operator's",
    "store/postgres/inspector.py:owners": "an operator's",
    "store/redis/inspector.py:owners": "an operator's",
    "store/redis/inspector.py:_event": "puts the id into an event that was found under the key",
    "store/redis/rows.py:event_of": "puts the id into an event that was found under the key",
    "store/redis/rows.py:page_of": "puts the id into events that were found under the key",
    "store/redis/rows.py:snapshot_from": "puts both into a snapshot that was found under the key",
    "store/sqlite/inspector.py:owners": "an operator's",
    "store/supabase/inspector.py:owners": "an operator's",
}
#: Parameters of the contracts that are of no session, by function.
OF_NO_SESSION: Final = {
    "list": "of an owner: user_id",
    "published": "the address of a page is a capability: message_id and type",
    "pending": "of every session",
    "open": "of the store",
    "close": "of the store",
    "sessions": "of every session",
}
#: Pairs of texts that are no sessions.
PAIRS: Final = {"broker/redis/channels.py"}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for room in ROOMS:
        for path in sorted((SERVER / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{path.relative_to(SERVER)}:{node.name}", node


def test_no_function_of_stores_brokers_and_engine_takes_an_id_without_its_owner() -> None:
    alone = set()
    for name, node in functions():
        arguments = {one.arg for one in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]}
        if arguments & {"session_id", "session", "sid"}:
            alone.add(name)
    assert alone == set(ALONE)


@pytest.mark.parametrize("contract", [Store, Library, Broker, Listener, Leases])
def test_every_function_of_a_contract_takes_keys(contract: type) -> None:
    for name, function in inspect.getmembers(contract, inspect.isfunction):
        if name.startswith("_") or name in OF_NO_SESSION:
            continue
        hints = typing.get_type_hints(function, include_extras=True)
        first = next(kind for argument, kind in hints.items() if argument != "return")
        assert first in (SessionKey, Sequence[SessionKey], Sequence[Write]), name
        assert not {"session_id", "user_id"} & set(hints), name


def calls_of_session_key(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "SessionKey":
            yield node


def test_a_key_is_made_with_keywords() -> None:
    """Both are text: by place they could be swapped, and nothing would notice."""
    made = [(path, call) for path in sorted(SERVER.rglob("*.py")) for call in calls_of_session_key(path)]
    assert len(made) > 5
    for path, call in made:
        where = f"{path.relative_to(SERVER)}:{call.lineno}"
        assert call.args == [], where
        assert {one.arg for one in call.keywords} == {"user_id", "session_id"}, where
    for path in sorted(SERVER.rglob("*.py")):
        assert "SessionKey._make" not in path.read_text(encoding="utf-8"), path


def test_no_bare_pair_of_texts_is_a_session() -> None:
    files = [path for room in (*ROOMS, "web", "machines") for path in (SERVER / room).rglob("*.py")]
    paths = [path for path in files if "tuple[str, str]" in path.read_text(encoding="utf-8").lower()]
    assert {str(path.relative_to(SERVER)) for path in paths} <= PAIRS


async def swapped(store: FullStore, broker: Broker, leases: Leases, key: SessionKey) -> None:
    """Never called: strict mypy complains of each of these, and would complain of an `ignore` that ignores nothing."""
    await store.find("c1", key)  # type: ignore[arg-type]
    await store.load(key.session_id, 0, 1)  # type: ignore[arg-type]
    await store.delete((key.session_id, key.user_id))  # type: ignore[arg-type]
    await store.heads([(key.user_id, key.session_id)])  # type: ignore[list-item]
    await store.read(key.session_id, key.user_id, 0, 1)  # type: ignore[arg-type, call-arg]
    await leases.hold([(key.user_id, key.session_id)])  # type: ignore[list-item]
    broker.follow((key.user_id, key.session_id))  # type: ignore[arg-type]
