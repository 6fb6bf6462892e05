"""Two lines at once, broken on purpose. Each `old` stands exactly once in its file."""

from typing import Final

from tests.model.mutant import INBOX, LINES, PURE_SESSION, SESSION, STANDING, TURNS, mutant

ENGINE: Final = "server/engine/engine.py"
BROKER: Final = "server/broker/__init__.py"
OVERTAKEN: Final = ("tests/engine/test_overtaken.py",)

BUSY_MUTANTS: Final = (
    mutant(
        "interrupt-never", "a newer line does not end the turn that runs", SESSION,
        "            return [effects.Interrupt(self.running.run)]\n",
        "            return []\n", PURE_SESSION,
    ),
    mutant(
        "overtaken-run", "the step of a line that was overtaken is run all the same", SESSION,
        "            return [effects.Interrupt(run)]  # a newer line replaced it: run no step, call no model\n",
        "            pass\n", PURE_SESSION,
    ),
    mutant(
        "interrupt-queued", "lines interrupt where they should wait", STANDING,
        '        return self.workflow.when_busy == "interrupt" and self.inbox.newest > turn\n',
        "        return self.inbox.newest > turn\n", PURE_SESSION,
    ),
    mutant(
        "interrupt-oldest", "the oldest line that waits is taken for the newest", INBOX,
        "        return self.lines[-1].seq if self.lines else 0\n",
        "        return self.lines[0].seq if self.lines else 0\n", PURE_SESSION,
    ),
    mutant(
        "stale-interrupt", "an interruption ends whatever turn runs by then", SESSION,
        "        running = self._runs(ready.run)\n",
        "        running = self.running if self.running and self.phase is not Phase.LOADING else None\n",
        PURE_SESSION, model=False,
    ),
    mutant(
        "interrupt-unsaid", "what was said before an interruption is lost", TURNS,
        "    if not running.text:\n        return [stopped]\n",
        '    if not running.text or "reason" in told:\n        return [stopped]\n', PURE_SESSION,
    ),
    mutant(
        "interrupt-unnamed", "an interruption looks like a user's cancellation", TURNS,
        '{"turn": running.turn, "reason": "interrupted"}', '{"turn": running.turn}', PURE_SESSION,
    ),
    mutant(
        "reject-never", "a second line is taken where it should be refused", SESSION,
        "                return self._refuse(message, ErrorCode.TURN_RUNNING, looked)\n",
        "                pass\n", PURE_SESSION,
    ),
    mutant(
        "reject-blind", "a line is refused without a look whether it took effect", SESSION,
        "self._refuse(message, ErrorCode.TURN_RUNNING, looked)",
        "self._refuse(message, ErrorCode.TURN_RUNNING, True)", PURE_SESSION,
    ),
    mutant(
        "reject-unasked", "a line is refused for a turn of which the store has the end", LINES,
        "{ErrorCode.STALE_ACTION, ErrorCode.NOT_RUNNING, ErrorCode.TURN_RUNNING}",
        "{ErrorCode.STALE_ACTION, ErrorCode.NOT_RUNNING}", (),
    ),
    mutant(
        "reject-here", "only a turn that runs here is a reason to refuse a line", SESSION,
        "            if self.turn is not None:\n", "            if self.running is not None:\n", PURE_SESSION,
    ),
    mutant(
        "reject-early", "a line is judged though there are news of its session", SESSION,
        "            if self._is_late or self._appending:\n", "            if self._appending:\n", PURE_SESSION,
    ),
    mutant(
        "reject-twice", "two lines are stored at once where one should be refused", SESSION,
        "            if self._is_late or self._appending:\n", "            if self._is_late:\n", PURE_SESSION,
    ),
    mutant(
        "spent-again", "a turn pays for the calls of another one", "server/engine/awake.py",
        "        if self.account is None or running is None or running.run != self.run:\n",
        "        if self.account is None:\n", OVERTAKEN, model=False,
    ),
    mutant(
        "deaf-runner", "a process does not hear of a turn that it runs when its tabs are elsewhere", BROKER,
        "        return tuple(self._followed.union(self._subscribers))\n",
        "        return tuple(self._subscribers)\n", OVERTAKEN, model=False,
    ),
)  # fmt: skip
