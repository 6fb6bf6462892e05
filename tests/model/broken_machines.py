"""Machines and engines that are broken on purpose. Each `old` stands exactly once in its file."""

from typing import Final

from tests.model.mutant import (
    CONNECTION,
    INBOX,
    LINES,
    PURE_CONNECTION,
    PURE_SESSION,
    SESSION,
    STANDING,
    TURNS,
    Change,
    Mutant,
    mutant,
)

CONNECTION_MUTANTS: Final = (
    mutant(
        "gap-connection", "a connection sends on over a gap", CONNECTION,
        "        if self.phase is not Phase.LIVE or not self._joins(fresh):\n",
        "        if self.phase is not Phase.LIVE or not fresh:\n", PURE_CONNECTION,
    ),
    mutant(
        "old-live", "a connection sends again what it has sent", CONNECTION,
        "items if items[0].seq == self.last + 1 else [item for item in items if item.seq > self.last]\n",
        "list(items)\n        self.last = min(self.last, items[0].seq - 1)\n", PURE_CONNECTION,
    ),
    mutant(
        "high-ignored", "what is heard during a replay is forgotten", CONNECTION,
        "        self.high = max(self.high, head)\n",
        "        self.high = max(self.high, head if self.phase is not Phase.REPLAYING else 0)\n", PURE_CONNECTION,
    ),
    Mutant(
        "late-subscribe", "a connection reads first and subscribes then",
        (
            Change(CONNECTION, "        return [Subscribe(), *self._load()]\n", "        return self._load()\n"),
            Change(CONNECTION, "            return [Create()]\n", "            return [Subscribe(), Create()]\n"),
            Change(CONNECTION, "        return told + self", "        return [Subscribe(), *told] + self"),
        ),
        PURE_CONNECTION,
    ),
    mutant(
        "beyond-head", "a cursor beyond the head is not reset", CONNECTION,
        "            if cursor.after > snapshot.seq or self._unknown:\n",
        "            if self._unknown:\n", PURE_CONNECTION,
    ),
    mutant(
        "wrong-last-id", "a cursor with another message id is believed", CONNECTION,
        "            if claimed is not None and (",
        "            if False and (", PURE_CONNECTION,
    ),
    mutant(
        "skip-trusted", "a client that shows too few items may skip the history", CONNECTION,
        "        if cursor.skip_history and cursor.message_count == snapshot.visible:\n",
        "        if cursor.skip_history:\n", PURE_CONNECTION,
    ),
    mutant(
        "full-forgotten", "what did not fit into the queue is not sent later", CONNECTION,
        "            self.phase = Phase.REPLAYING\n            self.last = last\n",
        "            self.phase = Phase.REPLAYING\n", PURE_CONNECTION,
    ),
    mutant(
        "stale-page", "a page of an earlier read is taken", CONNECTION,
        "        if read_id != self._read_id or self.phase is not Phase.REPLAYING:\n",
        "        if self.phase is not Phase.REPLAYING:\n", PURE_CONNECTION,
    ),
    mutant(
        "double-read", "a queue that drains asks for a page that is on its way", CONNECTION,
        "        if self.phase is Phase.REPLAYING and not self._reading:\n",
        "        if self.phase is Phase.REPLAYING:\n", PURE_CONNECTION,
    ),
)  # fmt: skip

SESSION_MUTANTS: Final = (
    mutant(
        "early-ack", "a line is acked before it is durable", SESSION,
        "        return [effects.Append(message,",
        "        early = effects.Ack(message.reply_to, message.say.client_id, self.inbox.head + 1, duplicate=False)\n"
        "        return [early, effects.Append(message,", PURE_SESSION,
    ),
    mutant(
        "early-ack-at-once", "a line is acked before it is durable together with its answer", SESSION,
        "        return self._commit(self.running, ending, ended.ids, ended.now_ms, line)\n",
        "        early = effects.Ack(message.reply_to, message.say.client_id, self.running.turn, duplicate=False)\n"
        "        return [early, *self._commit(self.running, ending, ended.ids, ended.now_ms, line)]\n",
        PURE_SESSION,
    ),
    mutant(
        "unfree-at-once", "a line is answered at once although others wait before it", STANDING,
        "        waits = self.inbox.lines or self.inbox.is_behind or self._appending or self.elsewhere.awaited\n",
        "        waits = self.inbox.is_behind\n", PURE_SESSION,
    ),
    mutant(
        "overtaken-at-once", "lines overtake one that is asked about", SESSION,
        "        if self.snapshot is None or self._asking or (",
        "        if self.snapshot is None or (", PURE_SESSION,
    ),
    mutant(
        "overtaken-commit", "lines overtake one that is committed together with its answer", SESSION,
        " or (self.running is not None and self.running.message is not None):\n",
        ":\n", PURE_SESSION,
    ),
    mutant(
        "outrun", "an answer is committed for another place than its line gets", "server/records.py",
        '    return write.update is not None and write.events[0].role == "user" and write.update.cursor != seq + 1\n',
        "    return False\n", ("tests/conformance/test_store_at_once.py",),
    ),
    mutant(
        "conflict-forgotten", "a line whose answer came too late is forgotten", SESSION,
        "                return [*self._held.put_back(message), *self._load()]\n",
        "                return self._load()\n", PURE_SESSION,
    ),
    mutant(
        "early-publish", "a turn is published before it is durable", SESSION,
        "        return [effects.Commit(running.run, running.write)]\n",
        "        from server.records import place\n\n"
        "        early = place(running.write.events, self.inbox.head, now_ms)\n"
        "        return [effects.Publish(early), effects.Commit(running.run, running.write)]\n", PURE_SESSION,
    ),
    mutant(
        "published-twice", "a turn is published twice", SESSION,
        "        out: list[Effect] = [effects.Publish(events)]\n",
        "        out: list[Effect] = [effects.Publish(events), effects.Publish(events)]\n", PURE_SESSION,
    ),
    mutant(
        "gap-session", "a session takes lines from behind a gap", INBOX,
        "            if event.seq != self.head + 1:\n",
        "            if event.seq <= self.head:\n", PURE_SESSION,
    ),
    mutant(
        "gap-run", "a turn runs before a gap is filled", INBOX,
        "        return self.lines[0] if self.lines and not self.is_behind else None\n",
        "        return self.lines[0] if self.lines else None\n", PURE_SESSION,
    ),
    mutant(
        "outdated-ignored", "what another process did during our commit is forgotten", SESSION,
        "            self._outdated = True\n",
        "            pass\n", PURE_SESSION,
    ),
    mutant(
        "failed-forgotten", "a step that breaks is not committed", SESSION,
        "        return self._commit(running, self._ending(done, running),",
        "        if isinstance(done, inputs.Failed):\n"
        "            self.running, self.phase = None, Phase.IDLE\n"
        "            return self._next()\n"
        "        return self._commit(running, self._ending(done, running),", PURE_SESSION,
    ),
    mutant(
        "takeover-never", "the lines of a dead process are never run", SESSION,
        "                self.inbox.own(number)\n", "", PURE_SESSION,
    ),
    mutant(
        "takeover-at-once", "the lines of another process are run at once", SESSION,
        "        if self.inbox.is_ours(line) or self.limits.takeover_ms == 0:\n",
        "        if True:\n", PURE_SESSION,
    ),
    mutant(
        "stale-load", "the answer to an earlier load is taken", SESSION,
        "        if done.number != self._load_number or self.phase is not Phase.LOADING:\n",
        "        if self.phase is not Phase.LOADING:\n", PURE_SESSION,
    ),
    mutant(
        "stale-read", "the answer to an earlier read is taken", SESSION,
        "        if done.number != self._read_number:\n",
        "        if self.phase is Phase.LOADING or self.phase is Phase.COLD:\n", PURE_SESSION,
    ),
    mutant(
        "stale-commit", "the outcome of an earlier commit is taken", SESSION,
        "        if running is None or running.run != run or running.write is None:\n",
        "        if running is None or running.write is None:\n", PURE_SESSION,
    ),
    mutant(
        "stale-step", "what a cancelled step says is taken", STANDING,
        "        return running if running and running.run == run and self.phase is Phase.RUNNING else None\n",
        "        return running if running and self.phase is Phase.RUNNING else None\n", PURE_SESSION,
    ),
    mutant(
        "held-forgotten", "what was asked while a session loaded is never answered", SESSION,
        "            for asked in self._held.take():\n",
        "            for asked in self._held.take()[:0]:\n", PURE_SESSION,
    ),
    mutant(
        "cancel-forgotten", "a cancellation that lost a race is never answered", SESSION,
        "                refused = self._held.add(running.cancel) if running.cancel else []\n",
        "                refused: list[Effect] = []\n", PURE_SESSION,
    ),
    mutant(
        "cancel-runs-on", "a cancelled step runs on", SESSION,
        "        return [effects.CancelStep(running.run), *self._commit(",
        "        return [*self._commit(", PURE_SESSION,
    ),
    mutant(
        "rest-early", "a session rests while a line is being committed", SESSION,
        " or self._appending or self._finding or self._asking\n",
        "\n", PURE_SESSION,
    ),
    mutant(
        "answered-again", "answered lines are not dropped", INBOX,
        "        self.lines = [line for line in self.lines if line.seq > cursor]\n", "", PURE_SESSION,
    ),
    mutant(
        "retry-blind", "a commit with an unknown outcome is repeated as if it were new", SESSION,
        "running.write, again=True)", "running.write)", PURE_SESSION,
    ),
    mutant(
        "retry-never", "a commit that failed is not tried again", SESSION,
        '                return [*self._held.refuse(ErrorCode.STORE_UNAVAILABLE), self._retry("commit")]\n',
        "                return []\n", PURE_SESSION,
    ),
    mutant(
        "id-reuse", "an id may be used again for something else", LINES,
        "    return is_line(event) and _same_words(",
        "    return is_line(event) or _same_words(", PURE_SESSION,
    ),
    mutant(
        "stale-card", "a button of a closed card is a line like any other", SESSION,
        "        if asked is not None and asked != self.snapshot.card:\n",
        "        if False:\n", PURE_SESSION,
    ),
    mutant(
        "cursor-unmoved", "a turn does not move the cursor", TURNS,
        "        cursor=running.turn,\n",
        "        cursor=before.cursor if before else 0,\n", PURE_SESSION,
    ),
    mutant(
        "fold-memory", "what a turn remembers does not stand in its state_update", TURNS,
        '        "memory": changes,\n',
        '        "memory": {},\n', PURE_SESSION,
    ),
    mutant(
        "cancel-unchecked", "a cancellation is committed without the version", TURNS,
        "        expected_version=before.version if before else 0,\n",
        "        expected_version=None if ending.client_id else before.version if before else 0,\n", PURE_SESSION,
    ),
    mutant(
        "streamed-id", "a streamed text and its message have different ids", TURNS,
        "Frame(CHAT_MESSAGE, frames[spoken].payload, running.message_id)",
        "frames[spoken]", PURE_SESSION,
    ),
)  # fmt: skip
