"""What holds for the files of the repository as a whole."""

import ast
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from server.settings import Settings

ROOT: Final = Path(__file__).parents[2]
#: Made, not written: not in the repository.
NOT_OURS: Final = re.compile(r"\.(?!ci$|github$).*|var|node_modules|__pycache__|.*\.egg-info|build|dist")
#: Where packages come from is the installer's business. In parts, so that this file does not name them itself.
REGISTRIES: Final = tuple(
    "".join(parts) for parts in (("py", "pi.org"), ("python", "hosted.org"), ("npm", "js.org"), ("yarn", "pkg.com"))
)
PERSONAL_PATH: Final = re.compile(r"(?<![\w.$}~])/(?:home|root|Users|work|workspace|mnt)/\w")
#: Lines of a file of the server.
LINES_MOST: Final = 500
VAGUE_WORDS: Final = frozenset({"manager", "helper", "util", "utils", "handler"})


def files(*suffixes: str) -> Iterator[Path]:
    """The repository's files, with one of the suffixes if any are given."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not NOT_OURS.fullmatch(name)]
        paths = (Path(folder, name) for name in names if name != ".env" and not name.startswith(".coverage"))
        yield from (path for path in paths if not suffixes or path.suffix in suffixes)


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def foreign_words(text: str) -> list[str]:
    """What a file must not say: the host of a package registry, the path of somebody's folder."""
    return [host for host in REGISTRIES if host in text] + PERSONAL_PATH.findall(text)


def defined_names(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def vague(name: str) -> set[str]:
    """The words of a name, in either case style, that say nothing."""
    words = {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
    return {word for word in words if word in VAGUE_WORDS or word.removesuffix("s") in VAGUE_WORDS}


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {package.lower().replace("_", "-"): version for package, version in pairs}


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def packages(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w-]", requirement)[0].lower() for requirement in requirements}


def test_no_file_names_a_registry_or_a_place_on_somebodys_machine() -> None:
    texts = {shown(path): path.read_text(encoding="utf-8", errors="replace") for path in files()}
    assert "pyproject.toml" in texts
    assert {name: foreign_words(text) for name, text in texts.items() if foreign_words(text)} == {}


@pytest.mark.parametrize("text", [f"https://{REGISTRIES[0]}/simple", *map("cd /{}/x".format, ("home", "root", "work"))])
def test_a_foreign_word_is_found(text: str) -> None:
    assert foreign_words(text)


@pytest.mark.parametrize(
    "text", ["/app/var", "https://a.example/home/page", *map("{}/home/x".format, ("~", "$ROOT")), "/tmp/x.db"]
)
def test_an_ordinary_path_is_not(text: str) -> None:
    assert not foreign_words(text)


def test_names_say_what_a_thing_is() -> None:
    names = {shown(path): vague(path.stem) for path in files()}
    for path in files(".py"):
        for name in defined_names(path.read_text(encoding="utf-8")):
            names[f"{shown(path)}: {name}"] = vague(name)
    assert {name: words for name, words in names.items() if words} == {}


@pytest.mark.parametrize("name", ["SessionManager", "URLHelpers", "store_utils", "handlers", "handler_of"])
def test_a_vague_name_is_found(name: str) -> None:
    assert vague(name)


def test_the_changelog_begins_with_what_is_not_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## +\[?(\w+)", text, re.MULTILINE)
    assert headings[:1] == ["Unreleased"]


def test_every_dependency_is_pinned() -> None:
    optional = project()["optional-dependencies"].values()
    wanted = packages([*project()["dependencies"], *(one for group in optional for one in group)])
    assert wanted <= pins("constraints.txt").keys()


def test_what_a_host_installs_is_the_pinned_runtime() -> None:
    runtime, everything = pins("requirements.txt"), pins("constraints.txt")
    assert packages(project()["dependencies"]) <= runtime.keys()
    assert runtime.items() <= everything.items()
    assert not packages(project()["optional-dependencies"]["dev"]) & runtime.keys()


def test_railway_starts_what_the_procfile_starts_and_waits_for_the_drain() -> None:
    deploy = tomllib.loads((ROOT / "railway.toml").read_text(encoding="utf-8"))["deploy"]
    assert (ROOT / "Procfile").read_text(encoding="utf-8") == f"web: {deploy['startCommand']}\n"
    assert deploy["drainingSeconds"] * 1000 > Settings().drain_ms
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert f"`{deploy['startCommand']}`" in page
    assert f"`{deploy['drainingSeconds']}`, more than `DRAIN_MS`" in page


SCRIPTS: Final = sorted(shown(path) for folder in ("scripts", ".ci") for path in (ROOT / folder).iterdir())


@pytest.mark.parametrize("name", [name for name in SCRIPTS if "__pycache__" not in name])
def test_scripts_can_be_run(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    assert (ROOT / name).read_text(encoding="utf-8").startswith("#!/usr/bin/env ")


def commands(page: str) -> Iterator[str]:
    """The programs that a page tells to run, without the variables before them."""
    for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL):
        for line in block.splitlines():
            words = [word for word in line.partition("#")[0].split() if "=" not in word]
            yield from words[:1]


def test_the_readmes_commands_are_there() -> None:
    named = set(commands((ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"scripts/serve", "scripts/check", "scripts/test"} <= named
    ours = {name for name in named if "/" in name}
    assert named - ours <= {"pip"}
    assert {name for name in ours if not os.access(ROOT / name, os.X_OK)} == set()


def test_a_commit_is_checked_by_the_script_that_people_run() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^ +entry: (.*)$", hooks, re.MULTILINE) == ["scripts/check"]


def test_what_must_be_covered_is_there() -> None:
    """A module that moved would otherwise leave the list in silence."""
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]
    listed = configured["report"]["include"]
    assert configured["run"]["source"] == ["server"]
    assert configured["report"]["fail_under"] == 100
    assert [name for name in listed if not (ROOT / name).is_file()] == []
    assert len(listed) == len(set(listed))


def test_no_file_of_the_server_is_long() -> None:
    """One idea a file: what outgrows this has two."""
    lines = {shown(path): path.read_text(encoding="utf-8").count("\n") for path in (ROOT / "server").rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > LINES_MOST} == {}
