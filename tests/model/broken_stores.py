"""Stores and group commits that are broken on purpose. Each `old` stands exactly once in its file."""

from typing import Final

from tests.model.mutant import BATCH, BATCH_STATEMENT, COMMIT, DICT, GROUP, OWNERS, RECORDS, STORES, mutant

STORE_MUTANTS: Final = (
    mutant(
        "version-dict", "the dict store does not check the version", DICT,
        "        if write.expected_version is not None and write.expected_version != version:\n",
        "        if write.expected_version == 0 and version:\n", STORES,
    ),
    mutant(
        "version-sqlite", "SQLite does not check the version", BATCH,
        "        if write.expected_version is not None and write.expected_version != head.version:\n",
        "        if write.expected_version == 0 and head.version:\n", STORES, model=False,
    ),
    mutant(
        "greeting-dict", "the dict store creates a session that exists", DICT,
        "        if write.expected_version is not None and write.expected_version != version:\n",
        "        if write.expected_version and write.expected_version != version:\n", STORES,
    ),
    mutant(
        "dedupe-dict", "the dict store takes a client id twice", DICT,
        "            if write.client_id is not None and event.client_id == write.client_id:\n",
        "            if False:\n", STORES,
    ),
    mutant(
        "dedupe-sqlite", "SQLite takes a client id twice", BATCH,
        "        if write.client_id is not None and (before := self._used.get((key, write.client_id))) is not None:\n",
        "        if (before := None) is not None:\n", STORES, model=False,
    ),
    mutant(
        "blind-batch", "SQLite writes a batch whatever became of its sessions", BATCH_STATEMENT,
        "            \" select raise(abort, 'a session has moved on') where changes() <> new.changes;\"\n", "",
        ("tests/conformance/test_sqlite.py",), model=False,
    ),
    mutant(
        "dedupe-batch", "SQLite takes a client id twice within a batch", BATCH,
        "                self._used[key, event.client_id] = event\n",
        "                pass\n", STORES, model=False,
    ),
    mutant(
        "owner-sqlite", "SQLite appends to anybody's session of that id", BATCH,
        "        head = self.heads.get(key)\n",
        "        head = next((head for one, head in self.heads.items() if one.session_id == key.session_id), None)\n",
        OWNERS, model=False,
    ),
    mutant(
        "owner-dict", "the dict store finds a client id in anybody's session of that id", DICT,
        "        log = self.logs.get(write.key, [])\n",
        "        log = next((log for key, log in self.logs.items() if key.session_id == write.session_id), [])\n",
        OWNERS,
    ),
    mutant(
        "cursor-dict", "the cursor does not move with the turn in the dict store", DICT,
        "        cursor=update.cursor,\n",
        "        cursor=snapshot.cursor,\n", STORES,
    ),
    mutant(
        "cursor-sqlite", "the cursor does not move with the turn in SQLite", BATCH,
        "            head.cursor, head.card = update.cursor, update.card\n",
        "            head.card = update.card\n", STORES, model=False,
    ),
    mutant(
        "time-dict", "times may stand still in the dict store", DICT,
        "max(event.created_at, time + 1)", "event.created_at", STORES,
    ),
    mutant(
        "time-sqlite", "times may stand still in SQLite", RECORDS,
        "        updated_at = event.created_at if event.created_at > updated_at else updated_at + 1\n",
        "        updated_at = event.created_at\n", ("tests/pure/test_records.py", *STORES), model=False,
    ),
    mutant(
        "replay-new-ids", "a replay makes new message ids", "server/store/rows.py",
        "        message_id=message_id,\n",
        '        message_id=f"{message_id}-{seq}",\n', STORES, model=False,
    ),
    mutant(
        "fold-card", "a move leaves the card open", RECORDS,
        "    return None if moved else card\n",
        "    return card\n", ("tests/pure/test_records.py",),
    ),
)  # fmt: skip

GROUP_MUTANTS: Final = (
    mutant(
        "recognise", "a commit whose answer was lost is repeated blindly", COMMIT,
        "                _resolve(queued, await self._recognise(queued.write, outcomes[0]))\n",
        "                _resolve(queued, outcomes[0])\n", GROUP,
    ),
    mutant(
        "recognise-again", "a commit that the session repeats is repeated blindly", COMMIT,
        "            if queued.again:\n",
        "            if False:\n", GROUP,
    ),
    mutant(
        "poison", "an unknown outcome is reported as failure, and a bad write fails its batch", COMMIT,
        "            await self._commit_alone(batch)\n",
        "            for queued in batch:\n                _resolve(queued, None)\n", GROUP,
    ),
    mutant(
        "drop-tail", "the last write of a long batch gets no outcome", COMMIT,
        "        for place, (queued, outcome) in enumerate(zip(batch, outcomes, strict=True)):\n",
        "        for place, (queued, outcome) in enumerate(zip(batch[:2], outcomes, strict=False)):\n", GROUP,
    ),
    mutant(
        "overtaken-batch", "later writes overtake a batch that is tried again", COMMIT,
        "                if not isinstance(outcomes, Exception):\n                    self._begin()\n",
        "                self._begin()\n", GROUP,
    ),
    mutant(
        "out-of-order", "the youngest write goes first", COMMIT,
        "self._queue.popleft()", "self._queue.pop()", GROUP,
    ),
)  # fmt: skip
