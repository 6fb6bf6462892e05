"""What keeps a fault in one session from the others, broken on purpose. Each `old` stands exactly once in its file."""

from typing import Final

from tests.model.mutant import COMMIT, Mutant, mutant

ENGINE: Final = "server/engine/engine.py"
RESCUE: Final = "server/engine/rescue.py"
TROUBLES: Final = "server/engine/containment.py"
STEPS: Final = ("tests/engine/test_wrong_steps.py",)
CONTAINED: Final = ("tests/engine/test_containment.py", "tests/engine/test_damaged_sessions.py")
FUZZED: Final = ("tests/engine/test_containment_fuzz.py",)

CONTAINMENT_MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "contain-nothing", "a machine that raises stops the queue of all sessions", ENGINE,
        "                except Exception as error:  # noqa: BLE001  one session's fault must not stop the others\n",
        "                except ZeroDivisionError as error:\n", (*CONTAINED, *FUZZED), model=False,
    ),
    mutant(
        "contain-for-ever", "a turn that breaks its machine runs again and again", RESCUE,
        "_TRIES = 2\n", "_TRIES = 1_000_000\n", CONTAINED, model=False,
    ),
    mutant(
        "contain-silent", "the sender of a line that was in a machine that raised hears nothing", RESCUE,
        "        for asked in {id(one): one for one in waiting}.values():\n", "        for asked in ():\n",
        CONTAINED, model=False,
    ),
    mutant(
        "contain-unheard", "what was committed for a machine that raised is told to nobody", RESCUE,
        "            self._engine.spawn(self._make_known(key, message or None, received.outcome.events), "
        '"make known")\n',
        "            pass\n", CONTAINED, model=False,
    ),
    mutant(
        "contain-hot", "a session that cannot be read is read again in every round", TROUBLES,
        "        return trouble is not None and now_ms < trouble.until_ms\n", "        return False\n",
        CONTAINED, model=False,
    ),
    mutant(
        "contain-growing", "sessions in trouble are remembered without a bound", TROUBLES,
        "        if len(self._troubles) > self._limit:\n", "        if False:\n", CONTAINED, model=False,
    ),
    mutant(
        "contain-displaced", "damaged sessions keep the sweep from those behind them", "server/engine/upkeep.py",
        "                limit += len(self._engine.troubles)\n", "", CONTAINED, model=False,
    ),
    mutant(
        "invalid-for-ever", "a turn that can never be stored is tried for ever", COMMIT,
        "UNSTORABLE if isinstance(outcomes, InvalidWrite) else UNKNOWN", "UNKNOWN", CONTAINED, model=False,
    ),
    mutant(
        "server-key-open", "a workflow may write what the server itself remembers", "server/workflows/move.py",
        "if type(key) is not str or key[:1] == RESERVED:", "if type(key) is not str:", STEPS, model=False,
    ),
    mutant(
        "step-stops-loop", "a step may stop the event loop", "server/engine/step_guard.py",
        "        if IS_STEP.get():\n", "        if False:\n", STEPS, model=False,
    ),
    mutant(
        "step-cancels-itself", "a step that raises CancelledError leaves its turn without an end", ENGINE,
        "            if not self._is_wanted(key, awake, effect.run):\n", "            if True:\n", STEPS, model=False,
    ),
    mutant(
        "step-clings", "a step that swallows its cancellation is waited for, for ever", "server/engine/upkeep.py",
        "            self._engine.end_overdue()\n", "", STEPS, model=False,
    ),
)  # fmt: skip
