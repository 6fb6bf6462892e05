"""Imports point down only, and the pure modules know no clock, chance, log, disk or network.

A new module fails here until it has a place in LAYERS.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

SERVER: Final = Path(__file__).parents[1] / "server"

#: From the top down. A module imports from the rows below its own, and, in a package, from its own package.
LAYERS: Final = (
    ("__main__",),
    ("app",),
    ("migrate",),
    ("api", "websocket", "sse"),
    ("subscriber", "outlet", "rates", "transport", "auth", "telemetry", "rounds", "fanout", "workers"),
    ("engine",),
    ("turn_times",),
    ("session", "connection", "commit", "steps", "rollup", "leases", "redis"),
    ("recall",),
    ("stamps", "tasks", "metrics"),
    ("turns", "again"),
    ("lines", "inbox"),
    ("signals",),
    ("store.inspectors",),
    ("store.sqlite_inspector", "store.postgres_inspector", "store.supabase_inspector", "store.redis_inspector"),
    ("store.url",),
    (
        *("workflows", "broker", "settings"),
        *("store.sqlite", "store.postgres", "store.supabase", "store.redis", "store.migrate"),
    ),
    (
        *("diagnosis", "store.remote_inspector"),
        *("store.sqlite_writer", "store.functions", "store.redis_rows", "store.redis_scripts"),
    ),
    ("store.sqlite_batch",),
    ("store.batch", "store.rows", "store.sqlite_migrate", "store.redis_durability", "store.threads"),
    ("decks", "moves"),
    ("workflow", "protocol", "store", "store.inspector"),
    ("assistant",),
    ("store.records", "store.schema"),
    ("errors",),
    ("",),  # server/__init__.py, which has the version
)

#: Who alone may import these, beyond what the rows say: whoever is configured gets plain arguments.
ONLY_BY: Final = {
    "settings": {
        *("__main__", "app", "migrate", "api", "websocket", "sse", "outlet", "engine", "steps", "recall"),
        *("rounds", "fanout"),
        *("store.url", "store.inspectors"),
    },
    "telemetry": {"__main__", "app", "migrate", "api", "websocket", "sse"},
    "auth": {"__main__", "app", "api", "websocket", "sse"},
    "fanout": {"app"},
    "redis": {"fanout"},
    "workers": {"__main__"},
    "store.sqlite": {"app", "migrate", "store.url", "store.sqlite_inspector"},
    "store.sqlite_writer": {"store.sqlite"},
    "store.sqlite_batch": {"store.sqlite_writer"},
    "store.threads": {"store.sqlite"},
    "store.postgres": {"store.url"},
    "store.supabase": {"store.url", "store.supabase_inspector"},
    "store.redis": {"store.url", "store.redis_inspector"},
    "store.url": {"app", "migrate", "store.inspectors"},
    "store": {"app", "api", "engine", "commit", "steps", "recall", "leases", "store.sqlite", "store.url"},
    "store.inspector": {
        *("diagnosis", "store.inspectors", "store.remote_inspector", "store.sqlite_inspector", "store.redis_inspector"),
    },
    # The operator's door knows no owner: nothing in the server may reach it.
    "store.inspectors": set(),
    "store.sqlite_inspector": {"store.inspectors"},
    "store.postgres_inspector": {"store.inspectors"},
    "store.supabase_inspector": {"store.inspectors"},
    "store.redis_inspector": {"store.inspectors"},
    "store.remote_inspector": {
        *("store.inspectors", "store.postgres_inspector", "store.supabase_inspector", "store.redis_inspector"),
    },
    "diagnosis": set(),
}

PURE: Final = {
    "",
    "assistant",
    "connection",
    "decks",
    "diagnosis",
    "errors",
    "inbox",
    "lines",
    "moves",
    "protocol",
    "session",
    "settings",
    "signals",
    "store",
    "store.inspector",
    "store.records",
    "store.redis_durability",
    "store.redis_rows",
    "store.schema",
    "turns",
    "workflow",
    "workflows",
}
#: The package's own file looks for its workflows, which is I/O; whoever calls a model waits, and reads its prompts.
NOT_PURE: Final = {
    "workflows",
    *("assistant.guarded", "assistant.model", "assistant.model_errors", "assistant.prompts", "assistant.vendors"),
}
#: All that a pure module may import from outside; of `urllib`, only `parse`.
PURE_MAY_IMPORT: Final = {
    "abc",
    "base64",
    "bisect",
    "collections",
    "contextlib",
    "copy",
    "dataclasses",
    "datetime",
    "difflib",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "html",
    "itertools",
    "json",
    "math",
    "msgspec",
    "operator",
    "re",
    "string",
    "textwrap",
    "types",
    "typing",
    "unicodedata",
    "urllib.parse",
}
#: And what it may not call: the world through the back door, and the clock.
PURE_MAY_NOT_CALL: Final = {"open", "print", "input", "eval", "exec", "__import__", "id", "hash"}
CLOCKS: Final = {"now", "utcnow", "today"}


def module_names() -> list[str]:
    """Every module under server/, as `store.records`; a package goes by its own name."""
    paths = (path.relative_to(SERVER).with_suffix("").parts for path in SERVER.rglob("*.py"))
    return sorted(".".join(part for part in parts if part != "__init__") for parts in paths)


def place_of(module: str) -> str | None:
    """The name under which a module stands in LAYERS: its own, or that of a package around it."""
    parts = module.split(".")
    places = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    known = {place for row in LAYERS for place in row}
    return next((place for place in places if place in known), "" if module == "" else None)


def row_of(place: str) -> int:
    return next(number for number, row in enumerate(LAYERS) if place in row)


def imports(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """The absolute names of all modules that a source imports, wherever in it: at its top, in a function, for types."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            for alias in node.names:
                whole = f"{origin}.{alias.name}"
                yield whole if whole.removeprefix("server.") in modules else origin


def complaints(module: str, source: str, modules: set[str]) -> Iterator[str]:
    """Everything about the module's imports, and a pure module's calls, that breaks the rules."""
    place = place_of(module)
    pure = place in PURE and module not in NOT_PURE
    if place is None:
        yield f"server/{module.replace('.', '/')} has no place yet: give it one in LAYERS, and in PURE if it is pure"
        return
    tree = ast.parse(source)
    for name in sorted(set(imports(tree, modules))):
        if name.startswith("."):
            yield f"{module} imports {name}: write absolute imports"
        elif name == "server" or name.startswith("server."):
            yield from _upward(module, place, name.removeprefix("server").removeprefix("."))
        elif pure and name != "urllib.parse" and name.partition(".")[0] not in PURE_MAY_IMPORT:
            yield f"{module} is pure and imports {name}"
    if pure:
        yield from (f"{module} is pure and calls {call}" for call in _impure_calls(tree))


def _upward(module: str, place: str, target: str) -> Iterator[str]:
    below = place_of(target)
    if below is None:
        yield f"{module} imports server.{target}, which has no place in LAYERS"
    elif below == place and place in ("assistant", "workflows", "decks", "redis"):
        return
    elif row_of(below) <= row_of(place):
        yield f"{module} imports server.{target}, which is not below it"
    elif below in ONLY_BY and place not in ONLY_BY[below]:
        yield f"{module} imports server.{target}, which is for {', '.join(sorted(ONLY_BY[below]))} only"


def _impure_calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        owner, _, name = called.rpartition(".")
        if called in PURE_MAY_NOT_CALL or (name in CLOCKS and owner.rpartition(".")[2] in ("datetime", "date")):
            yield called


@pytest.mark.parametrize("module", module_names())
def test_a_module_imports_only_what_is_below_it(module: str) -> None:
    path = SERVER.joinpath(*module.split(".")) if module else SERVER
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    assert list(complaints(module, file.read_text(encoding="utf-8"), set(module_names()))) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("engine", "import server.websocket", "not below"),
        ("engine", "from server import websocket", "not below"),
        ("engine", "from server.app import create_app", "not below"),
        ("session", "from server.connection import Connection", "not below"),
        ("session", "def f():\n    from server.engine import Engine", "not below"),
        ("session", "if TYPE_CHECKING:\n    from server.engine import Engine", "not below"),
        ("store.sqlite", "from server.broker import Broker", "not below"),
        ("store.sqlite", "from server.engine import Engine", "not below"),
        ("broker", "from server.store import Store", "only"),
        ("broker", "from server.store.sqlite import SqliteStore", "not below"),
        ("engine", "from server.redis.broker import RedisBroker", "only"),
        ("app", "from server.store.postgres import PostgresStore", "only"),
        ("store.redis", "from server.redis.pool import open_pool", "not below"),
        ("workflows.builder", "from server.store import Store", "only"),
        ("workflows.builder", "from server.store.sqlite import SqliteStore", "not below"),
        ("api", "from server.store.sqlite import SqliteStore", "only"),
        ("assistant.rules.topic", "from server.workflows.builder import BUILDER", "not below"),
        ("commit", "from server.settings import Settings", "only"),
        ("commit", "from server.telemetry import configure", "not below"),
        ("errors", "from server.store.records import Event", "not below"),
        ("errors", "from server.novelty import x", "no place in LAYERS"),
        ("errors", "from .protocol import parse", "absolute"),
        ("errors", "from . import protocol", "absolute"),
        ("novelty", "", "no place yet"),
        ("session", "import asyncio", "pure and imports asyncio"),
        ("session", "from time import monotonic", "pure and imports time"),
        ("session", "import os.path", "pure and imports os.path"),
        ("session", "import structlog", "pure and imports structlog"),
        ("protocol", "def f():\n    import random", "pure and imports random"),
        ("assistant.rules.topic", "import logging", "pure and imports logging"),
        ("workflows.builder", "import asyncio", "pure and imports asyncio"),
        ("settings", "from urllib.request import urlopen", "pure and imports urllib.request"),
        ("protocol", "import datetime\ndatetime.datetime.now()", "pure and calls datetime.datetime.now"),
        ("protocol", "from datetime import date\ndate.today()", "pure and calls date.today"),
        ("decks", "open('x')", "pure and calls open"),
    ],
)
def test_a_broken_rule_is_found(module: str, source: str, complaint: str) -> None:
    modules = {place for row in LAYERS for place in row} | {
        "workflows.builder",
        "assistant.rules.topic",
        "redis.broker",
        "redis.pool",
    }
    found = list(complaints(module, source, modules))
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("engine", "import asyncio\nfrom server.session import Session\nfrom server.settings import Settings"),
        ("app", "from server.store.sqlite import SqliteStore\nfrom server import __version__"),
        ("broker", "from server.store.records import Event\nfrom server import protocol"),
        ("fanout", "def f():\n    from server.redis.broker import RedisBroker"),
        ("store.url", "def f():\n    from server.store.postgres import PostgresStore"),
        ("workflows.builder", "from server.workflows.common import x\nfrom server.assistant.rules.topic import y"),
        ("workflow", "from collections.abc import AsyncIterator\nfrom datetime import datetime"),
        ("settings", "from urllib.parse import urlsplit\nimport msgspec.json"),
        ("protocol", "inputs.now()\nself.open()\nobject.hash"),
    ],
)
def test_a_kept_rule_is_not(module: str, source: str) -> None:
    modules = {place for row in LAYERS for place in row} | {"workflows.common", "assistant.rules.topic", "redis.broker"}
    assert list(complaints(module, source, modules)) == []


def test_every_row_names_a_module_once() -> None:
    places = [place for row in LAYERS for place in row]
    assert len(places) == len(set(places))
    assert set(ONLY_BY) <= set(places)
    assert set(places) >= PURE
