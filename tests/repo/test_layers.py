"""Imports point down only, and the pure modules know no clock, chance, log, disk or network.

A new module fails here until it has a place in LAYERS.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

SERVER: Final = Path(__file__).parents[2] / "server"

#: From the top down. A module imports from the rows below its own, and from its own package.
LAYERS: Final = (
    ("__main__",),
    ("app",),
    ("web",),
    ("engine",),
    ("ops",),
    ("machines", "broker", "store"),
    ("workflows", "settings"),
    ("wire", "assistant"),
    ("records", "server_memory", "clock", "tasks"),
    ("errors",),
    ("",),  # server/__init__.py, which has the version
)

#: Module or package → the only ones that may import it, beyond what the rows say; inside itself it is free.
ONLY_BY: Final = {
    # A module that needs a setting gets it as a plain argument, except where a room is put together.
    "settings": {"__main__", "app", "ops.migrate", "web", "engine", "broker.open", "store.open", "store.inspect.open"},
    "ops.logs": {"__main__", "app", "ops.migrate", "web"},
    "ops.workers": {"__main__"},
    "ops.diagnosis": set(),
    "web.access": {"__main__", "app", "web"},
    "broker.open": {"app"},
    "broker.redis": {"broker.open"},
    "store": {"app", "web", "engine", "ops"},
    "store.open": {"app", "ops.migrate", "store.inspect.open"},
    "store.sqlite": {"ops.migrate", "store.open", "store.inspect.open"},
    "store.postgres": {"ops.migrate", "store.open", "store.inspect.open", "store.supabase"},
    "store.supabase": {"store.open", "store.inspect.open"},
    "store.redis": {"store.open", "store.inspect.open"},
    # The operator's door knows no owner: nothing that serves users may reach it.
    "store.inspect": {
        "ops.diagnosis",
        *(f"store.{kind}.inspector" for kind in ("sqlite", "postgres", "supabase", "redis")),
    },
    "store.inspect.open": set(),
    # A workflow is found by the registry, by its name alone.
    "workflows.builder": set(),
    "workflows.chat": set(),
    "workflows.registry": {"app", "ops.check_workflow"},
    "workflows.check": {"ops.check_workflow"},
    "workflows.trial_tools": {"workflows.check"},
}

#: These modules and packages know no clock, chance, log, disk or network.
PURE: Final = {
    *("assistant", "errors", "machines", "records", "server_memory", "settings", "wire"),
    # The vocabulary, and these workflows. One of an author's own may wait, and may hold the tools that it needs.
    *(
        f"workflows.{name}"
        for name in ("builder", "chat", "complaints", "defaults", "move", "outputs", "page", "table", "tools")
    ),
    "engine.account",
    *("ops.diagnosis", "store.inspect.contract", "store.redis.durability", "store.redis.rows", "store.schema"),
}
#: The packages whose own file alone is pure: it is the contract, and what does the I/O are the files beside it.
PURE_FILES: Final = {"", "store", "workflows.tools"}
#: What calls a model waits for it, and reads its prompts. A tool is all the I/O that a step may do.
NOT_PURE: Final = {
    "workflows.tools",
    *("assistant.guarded", "assistant.model", "assistant.model_errors", "assistant.prompts", "assistant.vendors"),
    "workflows.builder.prompts",
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
    "inspect",
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


def source_of(module: str) -> str:
    path = SERVER.joinpath(*module.split(".")) if module else SERVER
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text(encoding="utf-8")


def is_in(module: str, places: Iterable[str]) -> bool:
    """Whether a module, or a package around it, is one of the places."""
    return any(module == place or module.startswith(f"{place}.") for place in places)


def is_pure(module: str) -> bool:
    return module in PURE_FILES or (is_in(module, PURE) and not is_in(module, NOT_PURE))


def place_of(module: str) -> str | None:
    """The name under which a module stands in LAYERS: its own, or that of its package."""
    known = {place for row in LAYERS for place in row}
    first = module.partition(".")[0]
    return first if first in known else None


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
    pure = is_pure(module)
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
        return
    if below != place and row_of(below) <= row_of(place):
        yield f"{module} imports server.{target}, which is not below it"
        return
    for guarded, importers in ONLY_BY.items():
        if is_in(target, [guarded]) and not is_in(module, [guarded, *importers]) and _is_narrowest(guarded, target):
            yield f"{module} imports server.{target}, which is for {', '.join(sorted(importers))} only"


def _is_narrowest(guarded: str, target: str) -> bool:
    """Whether no rule for a smaller part of the same package speaks of the target."""
    return not any(is_in(target, [other]) and other.startswith(f"{guarded}.") for other in ONLY_BY)


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
    assert list(complaints(module, source_of(module), set(module_names()))) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("engine.engine", "import server.web.websocket", "not below"),
        ("engine.engine", "from server.web import websocket", "not below"),
        ("engine.engine", "from server.app import create_app", "not below"),
        ("machines.session", "def f():\n    from server.engine.engine import Engine", "not below"),
        ("machines.session", "if TYPE_CHECKING:\n    from server.engine.engine import Engine", "not below"),
        ("store.sqlite.store", "from server.broker import Broker", "not below"),
        ("store.sqlite.store", "from server.engine.engine import Engine", "not below"),
        ("store.redis.store", "from server.store.postgres.functions import f", "only"),
        ("store.redis.store", "from server.broker.redis.pool import open_pool", "not below"),
        ("broker", "from server.store import Store", "not below"),
        ("broker.open", "from server.store.sqlite.store import SqliteStore", "not below"),
        ("engine.engine", "from server.broker.redis.broker import RedisBroker", "only"),
        ("engine.engine", "from server.store.inspect.contract import Inspector", "only"),
        ("app", "from server.store.postgres.store import PostgresStore", "only"),
        ("app", "from server.store.inspect.open import open_inspector", "only"),
        ("workflows.builder", "from server.store import Store", "not below"),
        ("workflows.builder", "from server.workflows.chat import CHAT", "only"),
        ("engine.engine", "from server.workflows.builder import BUILDER", "only"),
        ("web.pages", "from server.store.sqlite.store import SqliteStore", "only"),
        ("assistant.past", "from server.workflows.builder import BUILDER", "not below"),
        ("engine.group_commit", "from server.ops.logs import configure", "only"),
        ("store.batch", "from server.settings import Settings", "only"),
        ("errors", "from server.records import Event", "not below"),
        ("errors", "from server.novelty import x", "no place in LAYERS"),
        ("errors", "from .protocol import parse", "absolute"),
        ("errors", "from . import protocol", "absolute"),
        ("novelty", "", "no place yet"),
        ("machines.session", "import asyncio", "pure and imports asyncio"),
        ("machines.session", "from time import monotonic", "pure and imports time"),
        ("machines.session", "import os.path", "pure and imports os.path"),
        ("machines.session", "import structlog", "pure and imports structlog"),
        ("wire.protocol", "def f():\n    import random", "pure and imports random"),
        ("workflows.builder.rules.topic", "import logging", "pure and imports logging"),
        ("workflows.builder", "import asyncio", "pure and imports asyncio"),
        ("workflows.chat", "import asyncio", "pure and imports asyncio"),
        ("workflows.tools", "import asyncio", "pure and imports asyncio"),
        ("workflows.tools.weather", "from server.engine.turn_tools import TurnTools", "not below"),
        ("engine.account", "import time", "pure and imports time"),
        ("settings", "from urllib.request import urlopen", "pure and imports urllib.request"),
        ("store", "import asyncio", "pure and imports asyncio"),
        ("wire.protocol", "import datetime\ndatetime.datetime.now()", "pure and calls datetime.datetime.now"),
        ("wire.protocol", "from datetime import date\ndate.today()", "pure and calls date.today"),
        ("workflows.builder.deck_page", "open('x')", "pure and calls open"),
    ],
)
def test_a_broken_rule_is_found(module: str, source: str, complaint: str) -> None:
    found = list(complaints(module, source, set(module_names())))
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "engine.engine",
            "import asyncio\nfrom server.machines.session import Session\nfrom server.settings import Settings",
        ),
        ("app", "from server.store.open import open_store\nfrom server import __version__"),
        ("broker", "from server.records import Event\nfrom server.wire import protocol"),
        ("broker.open", "def f():\n    from server.broker.redis.broker import RedisBroker"),
        ("store.open", "def f():\n    from server.store.postgres.store import PostgresStore"),
        ("store.redis.inspector", "from server.store.inspect.contract import Inspector"),
        ("workflows.builder", "from server.workflows.table import x\nfrom server.assistant.window import y"),
        ("workflows.builder.by_rules", "from server.workflows.builder.rules.topic import x"),
        ("workflows.tools.weather", "import asyncio\nimport httpx2\nfrom server.workflows.tools import Tool"),
        ("workflows.builder", "from server.workflows.tools.weather import open_weather"),
        ("workflows.table", "from collections.abc import AsyncIterator\nfrom datetime import datetime"),
        ("workflows.coffee", "import asyncio\nfrom server.workflows.table import chat"),
        ("settings", "from urllib.parse import urlsplit\nimport msgspec.json"),
        ("store.sqlite.store", "import asyncio"),
        ("wire.protocol", "inputs.now()\nself.open()\nobject.hash"),
    ],
)
def test_a_kept_rule_is_not(module: str, source: str) -> None:
    assert list(complaints(module, source, set(module_names()))) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = set(module_names())
    wanted = {module: _targets(module, modules) for module in modules}
    while leaves := {module for module, targets in wanted.items() if not targets & wanted.keys()}:
        wanted = {module: targets for module, targets in wanted.items() if module not in leaves}
    assert wanted == {}


def _targets(module: str, modules: set[str]) -> set[str]:
    """The modules of this server that one imports, wherever in it: a circle of types, too, is one idea in two files."""
    tree = ast.parse(source_of(module))
    names = {
        name.removeprefix("server").removeprefix(".") for name in imports(tree, modules) if name.startswith("server")
    }
    return {name for name in names if name in modules and name != module}


def test_the_tables_name_what_is_there_once() -> None:
    places = [place for row in LAYERS for place in row]
    assert len(places) == len(set(places))
    assert len(LAYERS) <= 12
    modules = set(module_names())
    assert {*ONLY_BY, *PURE, *NOT_PURE, *PURE_FILES} <= modules
