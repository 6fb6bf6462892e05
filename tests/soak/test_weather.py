"""What befalls a service: in the order of its seed, planned things for certain, each noted with its end."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.soak.history import History, Record, Recorded
from tests.soak.view import Processes
from tests.soak.weather import Trouble, Weather, stall_s


class Sky:
    """Troubles that only take note, in a run that is over after so many."""

    def __init__(self, folder: Path, seed: int, enough: int) -> None:
        self.history = History(folder / f"{seed}-{random.random()}.jsonl")
        self.befell: list[str] = []
        self._seed = seed
        self._enough = enough

    def trouble(self, name: str, weight: float = 1) -> Trouble:
        async def befall(rng: random.Random) -> None:
            self.befell.append(f"{name} {rng.random()}")

        return Trouble(name, weight, befall)

    def progress(self) -> float:
        return len(self.befell) / self._enough

    async def pass_by(self, planned: Sequence[tuple[float, Trouble]] = ()) -> list[Record]:
        troubles = [self.trouble("rain"), self.trouble("snow"), self.trouble("never", 0)]
        weather = Weather(self.history, random.Random(self._seed), troubles, pause_s=0.001)
        await weather.run(self.progress, planned)
        self.history.close()
        return Recorded(self.history.path).of("")


async def test_the_same_seed_has_the_same_weather(tmp_path: Path) -> None:
    skies = [Sky(tmp_path, seed, 20) for seed in (1, 1, 2)]
    for sky in skies:
        await sky.pass_by()
    assert skies[0].befell == skies[1].befell != skies[2].befell


async def test_every_trouble_is_noted_with_its_end_and_counted(tmp_path: Path) -> None:
    sky = Sky(tmp_path, 3, 10)
    records = await sky.pass_by()
    assert [record.e for record in records] == ["trouble", "relief"] * 10
    counted = Processes(records).troubles
    assert counted == Counter(name.split()[0] for name in sky.befell)
    assert set(counted) == {"rain", "snow"}


async def test_what_is_planned_comes_once_and_in_its_time(tmp_path: Path) -> None:
    sky = Sky(tmp_path, 4, 10)
    records = await sky.pass_by([(0.5, sky.trouble("hail")), (0.9, sky.trouble("fog"))])
    names = [record.q["what"] for record in records if record.e == "trouble"]
    assert [names.index("hail"), names.index("fog")] == [5, 9]


async def test_a_run_that_is_over_is_not_waited_for(tmp_path: Path) -> None:
    sky = Sky(tmp_path, 5, 1)
    weather = Weather(sky.history, random.Random(5), [sky.trouble("rain")], pause_s=3600)
    running = asyncio.create_task(weather.run(sky.progress))
    await asyncio.sleep(0.01)
    sky.befell.append("something else")
    async with asyncio.timeout(5):
        await running
    sky.history.close()
    assert sky.befell == ["something else"]


def test_stalls_are_mostly_short_and_never_too_long() -> None:
    rng = random.Random(6)
    lengths = sorted(stall_s(rng, 30) for _ in range(2000))
    assert lengths[0] >= 1
    assert lengths[1000] < 3
    assert 15 < lengths[1950] <= lengths[-1] <= 30
