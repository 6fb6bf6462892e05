"""Which server may work with which schema."""

import pytest

from server.store.schema import Schema


@pytest.mark.parametrize(
    ("schema", "own", "is_fit"),
    [
        (Schema(0, 0), 1, True),  # to be migrated
        (Schema(1, 1), 1, True),
        (Schema(2, 1), 1, True),
        (Schema(2, 2), 1, False),
        (Schema(3, 2), 1, False),
        (Schema(3, 2), 2, True),
        (Schema(3, 2), 3, True),
        (Schema(3, 2), 4, True),
    ],
)
def test_an_old_server_works_with_a_new_schema_that_says_so(schema: Schema, own: int, is_fit: bool) -> None:
    assert (schema.refusal(own) is None) == is_fit


def test_a_refusal_says_what_there_is_and_what_to_do() -> None:
    assert Schema(3, 2).refusal(1) == (
        "its schema 3 is newer than this server's 1 and takes no server older than 2: start a newer server"
    )
