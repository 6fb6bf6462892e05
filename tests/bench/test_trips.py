"""A trip through the server stays short: rooms that are entered, and hops between them. They are ceilings."""

from typing import Final

import pytest

from tests.bench.trips import TRIPS, profiled

ROOMS: Final = 12
#: The hops between rooms. Whoever gets below one lowers it, so that the gain stays.
ROOM_HOPS: Final = {"a line that is answered at once": 50, "a reconnect": 42, "a model's turn": 200}


@pytest.mark.parametrize("name", TRIPS)
async def test_a_trip_enters_few_rooms_and_changes_them_seldom(name: str) -> None:
    with profiled() as counter:
        trip = await TRIPS[name](counter)
    assert trip.functions > 100, "nothing was counted"
    assert trip.rooms <= ROOMS, counter.hops()
    assert trip.room_hops <= ROOM_HOPS[name], counter.hops()
