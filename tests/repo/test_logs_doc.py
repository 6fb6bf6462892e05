"""docs/logs.md names every log record of the server, with its level and its fields, and no other."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest

from server.engine.turn_log import _about_calls, _about_uses
from tests.support.process import ROOT

SERVER: Final = ROOT / "server"
LEVELS: Final = {"debug", "info", "warning", "error", "critical", "exception"}
#: What a turn's record has besides when the turn called a language model, or a tool.
_CALL: Final = defaultdict[str, Any](int, kind="model")
OF_CALLS: Final = frozenset({*_about_calls({"usage": defaultdict(int), "trace": [_CALL]}), *_about_uses([{"ms": 1}])})
#: Records that come only after their logger was bound once more: these fields of it are always there.
BOUND_BEFORE: Final = {"session_restored": frozenset({"state", "action"})}


class Record(NamedTuple):
    """One record: `sure` fields are always there, `maybe` fields sometimes."""

    level: str
    sure: frozenset[str]
    maybe: frozenset[str]


class Source(ast.NodeVisitor):
    """The log calls of one file. A logger is `log`, or an attribute that is bound from one."""

    def __init__(self, source: str) -> None:
        self.calls: list[tuple[str, Record]] = []
        self._bound: dict[str, set[str]] = defaultdict(set)
        self._rebound: dict[str, set[str]] = defaultdict(set)
        self._keys: dict[str, set[str]] = defaultdict(set)
        self._tree = ast.parse(source)
        for node in ast.walk(self._tree):
            self._note(node)
        self.visit(self._tree)

    def _note(self, node: ast.AST) -> None:
        """What an assignment binds to a logger, and the keys of a dictionary that has a name."""
        match node:
            case ast.Assign(
                targets=[target], value=ast.Call(func=ast.Attribute(value=origin, attr="bind"), keywords=given)
            ):
                name = ast.unparse(target)
                names = {one.arg for one in given if one.arg}
                (self._rebound if ast.unparse(origin) == name else self._bound)[name] |= names
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict(keys=keys)):
                self._keys[name] |= {str(key.value) for key in keys if isinstance(key, ast.Constant)}

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Attribute(value=logger, attr=level), args=[ast.Constant(value=str(name))]) if (
                level in LEVELS and re.fullmatch(r"log|self\._log(ger)?", ast.unparse(logger))
            ):
                bound_to = ast.unparse(logger)
                sure = self._bound[bound_to] | BOUND_BEFORE.get(name, frozenset())
                maybe = self._rebound[bound_to] | (OF_CALLS if name == "turn" else frozenset())
                for one in node.keywords:
                    if one.arg is None:
                        sure |= self._keys[ast.unparse(one.value)]
                    elif one.arg == "exc_info":  # an exception, or whether there is one
                        (sure if ast.unparse(one.value) in ("error", "brief(error)") else maybe).add("exception")
                    else:
                        sure.add(one.arg)
                if level == "exception":
                    level, sure = "error", sure | {"exception"}
                self.calls.append((name, Record(level, frozenset(sure), frozenset(maybe - sure))))


def records_of(sources: Iterator[str]) -> dict[str, Record]:
    """Every record of the sources; one that is logged in several places has the fields of all."""
    found: dict[str, Record] = {}
    for source in sources:
        for name, record in Source(source).calls:
            known = found.get(name, record)
            sure = known.sure & record.sure
            maybe = (known.sure | known.maybe | record.sure | record.maybe) - sure
            level = record.level if record.level == known.level else f"{known.level}, {record.level}"
            found[name] = Record(level, sure, maybe)
    return found


def records_of_the_server() -> dict[str, Record]:
    return records_of(path.read_text(encoding="utf-8") for path in sorted(SERVER.rglob("*.py")))


def records_of_the_page(page: str) -> dict[str, Record]:
    """The rows of the page's tables: `name`, level, fields (`field` or `field?`), meaning."""
    found = {}
    for name, level, fields, meaning in re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.+) \|$", page, re.MULTILINE):
        assert name not in found, f"{name} is there twice"
        assert meaning.strip(), name
        named = re.findall(r"`(\w+\??)`", fields)
        sure = frozenset(field for field in named if not field.endswith("?"))
        found[name] = Record(level, sure, frozenset(field[:-1] for field in named if field.endswith("?")))
    return found


def differences(server: dict[str, Record], page: dict[str, Record]) -> Iterator[str]:
    """What the page lacks, has too much, or says otherwise."""
    yield from (f"the page lacks {name}" for name in sorted(server.keys() - page.keys()))
    yield from (f"no file of the server logs {name}" for name in sorted(page.keys() - server.keys()))
    for name in sorted(server.keys() & page.keys()):
        there, told = server[name], page[name]
        if there.level != told.level:
            yield f"{name}: its level is {there.level}, and the page says {told.level}"
        fields, told_fields = there.sure | there.maybe, told.sure | told.maybe
        yield from (f"{name}: the page lacks {field}" for field in sorted(fields - told_fields))
        yield from (f"{name}: has no {field}" for field in sorted(told_fields - fields))
        yield from (f"{name}: {field} is always there" for field in sorted(told.maybe & there.sure))
        yield from (f"{name}: {field} is not always there" for field in sorted(told.sure & there.maybe))


def test_the_page_and_the_server_name_the_same_records() -> None:
    page = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
    server = records_of_the_server()
    assert len(server) > 30
    assert list(differences(server, records_of_the_page(page))) == []


SOURCE = """
log = structlog.get_logger()
class Line:
    def __init__(self):
        self._log = log.bind(session_id=1)
    def open(self):
        self._log = self._log.bind(state=2)
        self._log.info("opened", head=3)
        record: dict[str, int] = {"ms": 4}
        self._log.warning("late", **record)
        log.exception("broken", task=5)
        log.error("failed", exc_info=error)
        log.error("failed", code=6, exc_info=unknown)
        log.error("ended", exc_info=brief(error))
"""


def test_every_way_to_log_is_seen() -> None:
    assert records_of(iter([SOURCE])) == {
        "opened": Record("info", frozenset({"session_id", "head"}), frozenset({"state"})),
        "late": Record("warning", frozenset({"session_id", "ms"}), frozenset({"state"})),
        "broken": Record("error", frozenset({"task", "exception"}), frozenset()),
        "failed": Record("error", frozenset(), frozenset({"code", "exception"})),
        "ended": Record("error", frozenset({"exception"}), frozenset()),
    }


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("| `opened` | info | `session_id`, `head` | x |", "opened: the page lacks state"),
        ("| `opened` | info | `session_id`, `head`, `state?`, `ms` | x |", "opened: has no ms"),
        (
            "| `opened` | warning | `session_id`, `head`, `state?` | x |",
            "opened: its level is info, and the page says warning",
        ),
        ("| `opened` | info | `session_id`, `head`, `state` | x |", "opened: state is not always there"),
        ("| `opened` | info | `session_id?`, `head`, `state?` | x |", "opened: session_id is always there"),
        ("| `closed` | info | – | x |", "no file of the server logs closed"),
    ],
)
def test_every_difference_is_found(row: str, complaint: str) -> None:
    assert complaint in list(differences(records_of(iter([SOURCE])), records_of_the_page(row)))


def test_no_logger_goes_by_another_name() -> None:
    """Else its records would not be seen: whatever has a method of a level's name and gets a text is a logger."""
    for path in SERVER.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        logged = [one for one in calls if isinstance(one.func, ast.Attribute) and one.func.attr in LEVELS and one.args]
        assert len(logged) - source.count("protocol.error(") == len(Source(source).calls), path
