"""A disk that forgets what was not synced: `kill -9` leaves the page cache, so it cannot find a missing fsync.

`Disk` is an SQLite VFS over the ordinary one. Beside every file it keeps what the device is sure to have, and what was
written since the last sync. At any operation it can be photographed: the files as a power cut at that moment could
leave them, where each unsynced sector and truncation may have happened or not, in any combination, and each file that
was made or deleted since the last sync of the folder may be there or not.

`ForgetfulStore` is the SQLite store itself (its pragmas, schema, transactions and statements); only the library that it
connects with is another, because the standard library's `sqlite3` takes no VFS. A photograph is then read with the
ordinary store. What is not simulated: sectors with bytes that nobody wrote, and devices that lie about a sync.
"""

import random
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import apsw

from server.store.sqlite.store import SqliteStore

#: What a device writes all of or nothing of.
SECTOR: Final = 512
_JOURNALS: Final = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL

Files = dict[str, bytes]
#: (offset, bytes written there), or (size, None) for a truncation.
Change = tuple[int, bytes | None]


class Kept:
    """One file: what the device has, what it was told since, and whether it is sure to be in its folder."""

    def __init__(self) -> None:
        self.content = b""
        self.unsynced: list[Change] = []
        self.is_made = True
        self.is_sure = False

    def sync(self) -> None:
        self.content = self.survive(lambda: True)
        self.unsynced.clear()

    def survive(self, happened: Callable[[], bool]) -> bytes:
        """The file after a power cut; `happened` is asked for every sector and truncation since the last sync."""
        content = bytearray(self.content)
        for offset, written in self.unsynced:
            if written is None:
                if happened():
                    del content[offset:]
                continue
            for start in range(offset - offset % SECTOR, offset + len(written), SECTOR):
                if happened():
                    piece = written[max(start - offset, 0) : start - offset + SECTOR]
                    _put(content, max(start, offset), piece)
        return bytes(content)

    def is_there(self, happened: Callable[[], bool]) -> bool:
        """Whether its folder still knows it after a power cut."""
        return self.is_made if self.is_sure or happened() else not self.is_made


class Disk(apsw.VFS):
    """The files of one folder. `on_change` is called before each write, truncation, deletion and sync.

    Several threads work on it, and a photograph shows one moment of all files: whatever changes one holds the lock.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.files: dict[str, Kept] = {}
        self.lock = threading.RLock()
        self.on_change: Callable[[], None] = lambda: None

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "DiskFile":  # noqa: N802
        return DiskFile(name, flags, self)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        with self.lock:
            self.on_change()
            super().xDelete(filename, syncdir)
            kept = self.files[Path(filename).name]
            kept.is_made = kept.is_sure = False
            if syncdir:
                self.sync_folder()

    def sync_folder(self) -> None:
        for kept in self.files.values():
            kept.is_sure = True

    def photograph(self, happened: Callable[[], bool]) -> Files:
        """What a power cut now would leave."""
        with self.lock:
            there = {name: kept for name, kept in self.files.items() if kept.is_there(happened)}
            return {name: kept.survive(happened) for name, kept in there.items()}


class DiskFile(apsw.VFSFile):
    """A file that is open: everything goes on to the ordinary file system, and is noted.

    SQLite syncs the folder with the first sync of a journal or log that it made; a trace of a real server shows that.
    """

    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], disk: Disk) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._syncs_folder = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _JOURNALS)
        self._kept = Kept()
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        with disk.lock:
            if path is not None:
                known = disk.files.get(Path(path).name)
                if known is None or not known.is_made:
                    disk.files[Path(path).name] = self._kept
                else:
                    self._kept = known

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        with self._disk.lock:
            self._disk.on_change()
            super().xWrite(data, offset)
            self._kept.unsynced.append((offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        with self._disk.lock:
            self._disk.on_change()
            super().xTruncate(newsize)
            self._kept.unsynced.append((newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: N802
        with self._disk.lock:
            self._disk.on_change()
            self._kept.sync()  # the device of the tests need not hear of it: what survives is what is kept here
            if self._syncs_folder:
                self._syncs_folder = False
                self._disk.sync_folder()


class _Connection(apsw.Connection):
    """What the store needs of the standard library's connection, and this library lacks."""

    def executescript(self, script: str) -> None:
        self.execute(script)

    def execute(self, *args: Any, **kwargs: Any) -> apsw.Cursor:
        """Raises what the standard library raises where values are missing."""
        try:
            return super().execute(*args, **kwargs)
        except apsw.BindingsError as error:
            raise sqlite3.ProgrammingError(str(error)) from error


class ForgetfulStore(SqliteStore):
    """The SQLite store on a forgetful disk."""

    def __init__(self, path: Path, disk: Disk, *, synchronous: str) -> None:
        super().__init__(str(path), synchronous=synchronous)
        self._disk = disk

    def _connect(self) -> sqlite3.Connection:
        connection = cast(sqlite3.Connection, _Connection(self._path, vfs=self._disk.name))
        self._connections.append(connection)
        return connection


def subset(seed: int) -> Callable[[], bool]:
    """Each unsynced sector by chance; some cuts lose nearly all of them, some nearly none."""
    choose = random.Random(seed)
    share = choose.choice((0.0, 0.1, 0.5, 0.9, 1.0))
    return lambda: choose.random() < share


def _put(content: bytearray, offset: int, piece: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(piece)] = piece
