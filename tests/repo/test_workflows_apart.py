"""A workflow is a folder: nothing of the server outside it names its states, its buttons, its intents or its frames."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from server.workflows.builder import BUILDER, legacy_state, summary

ROOT: Final = Path(__file__).parents[2]
SERVER: Final = ROOT / "server"
#: The folder itself, and the browser's client, which is the builder's page.
OWN: Final = (SERVER / "workflows" / "builder", SERVER / "web" / "static")
#: Migrations that were released before pages were general; their text is never edited.
RELEASED: Final = {
    SERVER / "store" / "postgres" / "migrations" / "20261121000000_rejoinder_tables.sql",
    SERVER / "store" / "postgres" / "migrations" / "20261121000002_rejoinder_reads.sql",
    SERVER / "store" / "sqlite" / "log.sql",
    SERVER / "store" / "sqlite" / "tables.sql",
}
_FINISHED: Final = {"presentation_strawman": {"slides": [1]}, "presentation_url": "https://example.test/decks/d"}


def names() -> set[str]:
    """What only the builder may name."""
    states = {state.name for state in BUILDER.states}
    buttons = {button.value for state in BUILDER.states for button in state.buttons}
    intents = {intent for state in BUILDER.states for intent in BUILDER.allowed(state)}
    shown = {legacy_state("CONTENT_GENERATION", _FINISHED), *_FINISHED, *summary(_FINISHED)}
    return states | buttons | intents | shown | set(BUILDER.frames)


def named_in(text: str) -> list[str]:
    return sorted(names() & set(re.findall(r"\w+", text)))


def texts() -> Iterator[Path]:
    for path in [*SERVER.rglob("*"), *(ROOT / "scripts").iterdir()]:
        if path.is_file() and "__pycache__" not in path.parts and not any(path.is_relative_to(own) for own in OWN):
            yield path


def test_nothing_outside_the_builder_names_what_is_its_own() -> None:
    read = {path: named_in(path.read_text(encoding="utf-8")) for path in texts()}
    assert len(read) > 100
    assert {path for path, found in read.items() if found} == RELEASED
    assert {name for path in RELEASED for name in read[path]} == {"slide_update"}


@pytest.mark.parametrize(
    "text",
    [
        'state == "CONTENT_GENERATED"',
        "where type = 'slide_update'",
        'summary["presentation_url"]',
        "has_strawman",
        'Button("accept_plan", "Yes", "Accept_Plan")',
        '"to": "REFINE_STRAWMAN"',
    ],
)
def test_a_name_of_the_builders_is_found(text: str) -> None:
    assert named_in(text)
