"""What goes on between processes, broken on purpose. Each `old` stands exactly once in its file."""

from typing import Final

from tests.model.mutant import (
    CONNECTION,
    DICT,
    ELSEWHERE,
    PURE_CONNECTION,
    PURE_SESSION,
    SESSION,
    STANDING,
    TURNS,
    Change,
    Mutant,
    mutant,
)

ENGINE: Final = "server/engine/engine.py"
ROUNDS: Final = "server/engine/upkeep.py"
SWEEP: Final = ("tests/model/test_sweep.py", "tests/engine/test_upkeep.py")

PROCESS_MUTANTS: Final = (
    mutant(
        "head-ignored", "news without their events are no news", SESSION,
        "                self.inbox.hear_of(head)\n", "", PURE_SESSION,
    ),
    mutant(
        "takeover-stale", "a takeover of a line that is not waited for is taken", SESSION,
        'case "takeover" if self.elsewhere.awaited is not None and self.elsewhere.awaited.turn == number:\n',
        'case "takeover":\n', PURE_SESSION,
    ),
    mutant(
        "takeover-blind", "a line is taken over without a look whether it has its answer", SESSION,
        "                return self._load()  # it may have its answer, and the news of it did not reach us\n",
        "                return self._next()\n", PURE_SESSION,
    ),
    mutant(
        "elsewhere-kept", "a turn that ended elsewhere is waited for, for ever", SESSION,
        "        self.phase, self.running, self.elsewhere.awaited, self._outdated = Phase.LOADING, None, None, False\n",
        "        self.phase, self.running, self._outdated = Phase.LOADING, None, False\n", PURE_SESSION,
    ),
    mutant(
        "elsewhere-shown", "what was shown of a turn elsewhere is never taken back", STANDING,
        "        underway = self.running or self.elsewhere.awaited\n        shown",
        "        underway = self.running\n        shown", PURE_SESSION,
    ),
    mutant(
        "elsewhere-unseen", "what was shown of a turn elsewhere is forgotten when it runs here", SESSION,
        "self._next_number(), self.elsewhere.awaited is not None\n",
        "self._next_number(), False\n", PURE_SESSION,
    ),
    mutant(
        "taken-back-from-all", "a process tells all that a turn is over which another runs", STANDING,
        "here=self.running is None)", "here=False)", PURE_SESSION,
    ),
    mutant(
        "catch-up-kept", "what whoever comes is shown of a turn is not taken back", TURNS,
        "        self.is_seen = True\n", "", PURE_SESSION,
    ),
    mutant(
        "tell-load", "connections do not hear what their session has loaded", SESSION,
        "        return [told, *(self._read() if self.inbox.is_behind else self._next())]\n",
        "        return [*(self._read() if self.inbox.is_behind else self._next())]\n", PURE_SESSION,
    ),
    mutant(
        "tell-read", "connections do not hear what their session has read", SESSION,
        "        return [effects.Tell(done.events[-1].seq), *self._note(done.events), *self._next()]\n",
        "        return [*self._note(done.events), *self._next()]\n", PURE_SESSION,
    ),
    mutant(
        "tell-open", "connections do not hear what another one has read", SESSION,
        "            return [effects.Tell(loaded.snapshot.seq), *self._note(loaded.inbox), *self._next()]\n",
        "            return [*self._note(loaded.inbox), *self._next()]\n", PURE_SESSION,
    ),
    mutant(
        "open-blind", "a session does not hear what a connection has read", SESSION,
        "            self.inbox.hear_of(loaded.snapshot.seq)\n", "", PURE_SESSION,
    ),
    mutant(
        "rest-behind", "a session rests before a gap is filled, and forgets who waits for that", SESSION,
        "self.inbox.is_behind or self._appending or self._finding",
        "self._appending or self._finding", PURE_SESSION,
    ),
    mutant(
        "hint-unheard", "a connection that waits for its session does not hear that there is one", CONNECTION,
        "        if self._creating and self.phase is Phase.LOADING and head > 0:\n",
        "        if False:\n", PURE_CONNECTION,
    ),
    mutant(
        "found-ignored", "what the store knows better is refused all the same", SESSION,
        "                self.inbox.hear_of(seq)  # news of another process may not have reached us\n",
        "                pass\n", PURE_SESSION,
    ),
    mutant(
        "late-press", "a press is refused though there are news of its card", SESSION,
        "            return self._hold(message) if self._is_late else self._refuse(message,",
        "            return self._refuse(message,", PURE_SESSION,
    ),
    mutant(
        "late-cancel", "a cancellation is refused though there are news of its turn", SESSION,
        "            return self._hold(cancel) if self._is_late else self._refuse(cancel,",
        "            return self._refuse(cancel,", PURE_SESSION,
    ),
    mutant(
        "late-commit", "what is wrong before a turn is refused though its commit is on the way", STANDING,
        "        return self.phase in (Phase.LOADING, Phase.COMMITTING) or self.inbox.is_behind\n",
        "        return self.phase is Phase.LOADING or self.inbox.is_behind\n", PURE_SESSION,
    ),
    Mutant(
        "cancel-elsewhere-unchecked", "a turn elsewhere is cancelled without the version",
        (
            Change(
                TURNS,
                "        expected_version=before.version if before else 0,\n",
                "        expected_version=(-1 if not running.attempt else before.version) if before else 0,\n",
            ),
            Change(
                DICT,
                "        if write.expected_version is not None and write.expected_version != version:\n",
                "        if write.expected_version is not None and write.expected_version not in (-1, version):\n",
            ),
        ),
        PURE_SESSION,
    ),
    mutant(
        "cancel-elsewhere-never", "only a turn that runs here can be cancelled", SESSION,
        "        running = self._underway\n        if running is None or",
        "        running = self._underway if self.running else None\n        if running is None or", PURE_SESSION,
    ),
)  # fmt: skip

SHOWN_MUTANTS: Final = (
    mutant(
        "piece-gap", "a piece of an answer is taken behind a gap", TURNS,
        '        return bool((piece["attempt"], piece["n"]) == (self.attempt, self.chunks + 1))\n',
        "        return True\n", PURE_SESSION,
    ),
    mutant(
        "wish-unheard", "a process does not show again what another has missed", SESSION,
        "                running = self.running if self.phase is Phase.RUNNING else None\n",
        "                running = None\n", PURE_SESSION, model=False,
    ),
    mutant(
        "same-attempt", "a turn that is taken over goes on with the pieces of another process", SESSION,
        "max(before, self.elsewhere.attempt(turn)) + 1\n", "before + 1\n", PURE_SESSION,
    ),
    mutant(
        "overheard-lost", "what was shown of a turn before its line was known is forgotten", ELSEWHERE,
        "        self.awaited = self._kept(turn)\n",
        "        self.awaited = Running(run=run, turn=turn, attempt=0)\n", PURE_SESSION,
    ),
    mutant(
        "overhears-in-its-sleep", "a session rests before it knows the line of what it has overheard", SESSION,
        " or waits or self._is_told_early:\n", " or waits:\n", PURE_SESSION,
    ),
    mutant(
        "again-uncounted", "a step that is begun anew goes on under the same attempt", TURNS,
        "        self.attempt += 1\n", "", PURE_SESSION, model=False,
    ),
    mutant(
        "again-no-reset", "the first piece of another attempt does not replace what was said", TURNS,
        '        self.text, self.chunks = "", 0\n', "", PURE_SESSION, model=False,
    ),
    mutant(
        "again-forgotten", "a turn that runs once more has the number of an attempt that was begun anew", SESSION,
        "        self._attempt = running.attempt\n", "", PURE_SESSION, model=False,
    ),
)  # fmt: skip

ROUND_MUTANTS: Final = (
    mutant(
        "sweep-nothing", "the sweep wakes nobody", ROUNDS,
        "                for key in ours:\n",
        "                for key in ours[:0]:\n", SWEEP, model=False,
    ),
    mutant(
        "sweep-once", "the sweep looks only at the start", ROUNDS,
        "            if len(waiting) < limit or not woken:",
        "            if limit:\n                return\n            if limit:", SWEEP, model=False,
    ),
    mutant(
        "sweep-busy", "the sweep wakes sessions whose turn is under way here", ROUNDS,
        "            busy = set(self._engine.busy()) if waiting else frozenset()\n",
        "            busy = frozenset()\n", SWEEP, model=False,
    ),
    mutant(
        "sweep-hasty", "a page of which nothing can be woken is asked for again at once", ROUNDS,
        " or not woken:", ":", SWEEP, model=False,
    ),
    mutant(
        "lease-seldom", "the lease of another process is asked for once in its time", ENGINE,
        "        poll_ms = patience_ms / _POLL_SHARE\n",
        "        poll_ms = patience_ms\n", SWEEP, model=False,
    ),
    mutant(
        "lease-never-again", "the lease of another process is asked for once", ENGINE,
        "            await asyncio.sleep(poll_ms / 1000)\n",
        "            return\n", SWEEP, model=False,
    ),
    mutant(
        "lease-shown", "the lease of a process that shows its answer is asked for", ENGINE,
        "            is_shown = now_ms() - awake.shown_ms < poll_ms\n",
        "            is_shown = False\n", SWEEP, model=False,
    ),
    mutant(
        "sweep-alone", "every process wakes every session", ROUNDS,
        "        return [key for key in keys if key in held]\n",
        "        return keys if held else keys\n", SWEEP, model=False,
    ),
    mutant(
        "heads-untold", "connections do not hear how far the log goes", ROUNDS,
        "                self._engine.broker.tell_head(key, head)\n", "", SWEEP, model=False,
    ),
    mutant(
        "heads-unheard", "sessions do not hear how far the log goes", ROUNDS,
        "                self._engine.hear(key, head)\n", "", SWEEP, model=False,
    ),
)  # fmt: skip
