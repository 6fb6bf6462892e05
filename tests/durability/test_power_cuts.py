"""Power cuts, hundreds of them, at any operation of the disk: what was acknowledged is there, and the file is sound."""

import itertools
import random
import shutil
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from server.records import Committed, Event, Write
from server.store.sqlite.store import SqliteStore
from tests.durability.forgetful import Disk, Files, ForgetfulStore, subset
from tests.durability.soundness import sound_logs
from tests.support.writes import accept, event, greeting, new_session, snapshot, turn

SEEDS: Final = range(4)
SESSIONS: Final = 4
BATCHES: Final = 60
#: How often an operation of the disk, and a moment behind an ack, is one at which the power fails.
SHARE_OF_OPERATIONS: Final = 0.015
SHARE_OF_ACKS: Final = 0.5
#: A memory that takes many pages, so that the log is long enough for checkpoints within a short story.
NOTES: Final = " ".join(map(str, range(8_000)))

Ids = frozenset[tuple[str, str]]
_names = itertools.count()


class Cut(NamedTuple):
    """What a power cut leaves, and the batches that were acknowledged and asked for until then."""

    files: Files
    acked: int
    asked: int


class Story:
    """Batches of writes to a store on a forgetful disk, with the power failing again and again."""

    def __init__(self, folder: Path, synchronous: str, seed: int) -> None:
        self.disk = Disk(f"forgetful-{next(_names)}")
        self.store = ForgetfulStore(folder / "store.db", self.disk, synchronous=synchronous)
        self.cuts: list[Cut] = []
        self.batches: list[Ids] = []
        self._acked = 0
        self._chance = random.Random(seed)
        self.disk.on_change = lambda: self._cut(SHARE_OF_OPERATIONS)

    async def tell(self) -> None:
        await self.store.open()
        ids = [new_session() for _ in range(SESSIONS)]
        await self._commit([greeting(session_id, memory={"n": "", "notes": NOTES}) for session_id in ids])
        for number in range(BATCHES):
            chosen = self._chance.sample(ids, self._chance.randint(1, SESSIONS))
            await self._commit([await self._write(session_id, number) for session_id in chosen])
        self.disk.on_change = lambda: None
        await self.store.close()

    async def _write(self, session_id: str, number: int) -> Write:
        """A line, or the answer to the one that waits."""
        before = await snapshot(self.store, session_id)
        if before.lined == before.cursor:
            return accept(session_id, f"c{number}")
        said = event(session_id, payload={"text": f"answer {number}"})
        # Its length moves what stands behind it: every page of the memory is written anew.
        return turn(before, said, answers=before.lined, memory={"n": "n" * (number % 7 + 1)})

    async def _commit(self, writes: list[Write]) -> None:
        self.batches.append(frozenset(_ids([one for write in writes for one in write.events])))
        outcomes = await self.store.commit(writes)
        assert {type(outcome) for outcome in outcomes} == {Committed}
        self._acked = len(self.batches)
        self._cut(SHARE_OF_ACKS)

    def _cut(self, share: float) -> None:
        with self.disk.lock:  # the log is copied by a thread of its own
            if self._chance.random() < share:
                acked = self._acked  # before the photograph: what is acknowledged while it is taken may not be on it
                files = self.disk.photograph(subset(self._chance.getrandbits(32)))
                self.cuts.append(Cut(files, acked, len(self.batches)))


def _ids(events: list[Event]) -> set[tuple[str, str]]:
    return {(one.session_id, one.message_id) for one in events}


def lay_out(folder: Path, files: Files) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


async def restart(folder: Path, cut: Cut) -> set[tuple[str, str]]:
    """What the ordinary store finds in what is left, once it is open; the file keeps every law."""
    lay_out(folder, cut.files)
    store = SqliteStore(str(folder / "store.db"), synchronous="OFF")  # what it writes now is only looked at
    await store.open()
    await store.close()
    found = set().union(*map(_ids, sound_logs(folder / "store.db").values()))
    shutil.rmtree(folder)
    return found


async def lost_batches(folder: Path, synchronous: str, seed: int) -> list[int]:
    """For each power cut of a story, how many acknowledged batches are gone; those that are left are whole."""
    lay_out(folder / "disk", {})
    story = Story(folder / "disk", synchronous, seed)
    await story.tell()
    lost = []
    for number, cut in enumerate(story.cuts):
        found = await restart(folder / f"cut-{number}", cut)
        whole = next(count for count in range(cut.asked, -1, -1) if count == 0 or story.batches[count - 1] & found)
        assert found == set().union(*story.batches[:whole]), "half a batch is there, or one without those before it"
        lost.append(cut.acked - min(whole, cut.acked))
    return lost


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_power_cut_takes_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    lost = await lost_batches(tmp_path, "FULL", seed)
    print(f"\nFULL, seed {seed}: {len(lost)} power cuts, {sum(map(bool, lost))} of them lost something")  # noqa: T201
    assert len(lost) >= 40
    assert not any(lost)


async def test_without_a_sync_at_each_commit_it_takes_the_last_ones(tmp_path: Path) -> None:
    """The disk does forget: what the setting says it risks is lost here, and the file is still sound."""
    lost = await lost_batches(tmp_path, "NORMAL", 0)
    print(f"\nNORMAL: {len(lost)} power cuts, {sum(map(bool, lost))} of them lost up to {max(lost)} batches")  # noqa: T201
    assert sum(map(bool, lost)) >= 10
