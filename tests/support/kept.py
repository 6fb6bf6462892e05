"""A stored session in a store of any kind, with ways to look at it, to damage it and to take the store away."""

import asyncio
import contextlib
import functools
import importlib.util
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, redirect_stderr, redirect_stdout
from types import ModuleType
from typing import Any, TypeVar
from unittest import mock

from server.settings import Settings
from server.store.inspect.contract import Inspector
from server.store.inspect.open import open_inspector
from server.store.library import FullStore
from tests.support.process import ROOT
from tests.support.stored import SCRIPT, SESSION, Seen, Talk, check, talk_until_plan

T = TypeVar("T")


class Kept(ABC):
    """A store with the session of `talk_until_plan` in it.

    `environ` names it for a server and for the script, `strange` does so with a key that it does not take, `empty`
    names one in which no server ever kept anything.
    """

    environ: dict[str, str]
    strange: dict[str, str]
    empty: dict[str, str]
    #: Whether an inspector still sees what is deleted meanwhile; else it says that it cannot go on.
    is_one_transaction = False

    @abstractmethod
    def store(self) -> FullStore:
        """The store, not opened."""

    @abstractmethod
    def contents(self) -> object:
        """Everything that is in it."""

    @abstractmethod
    def spoil(self, seq: int, payload: str) -> None:
        """Another text, fit for JSON or not, is the payload of the event."""

    @abstractmethod
    def remove(self, seq: int) -> None:
        """The event is gone from the log."""

    @abstractmethod
    def alter(self, column: str, value: str | int) -> None:
        """The session's row says something else."""

    @abstractmethod
    def orphan(self) -> None:
        """The session's row is gone, and its log is not."""

    @abstractmethod
    def renew_schema(self) -> None:
        """A later server has made a schema that takes no servers of today."""

    @abstractmethod
    def away(self) -> AbstractContextManager[None]:
        """There is nobody where the store was."""

    def stalled(self) -> AbstractContextManager[None]:
        """Connections are taken, and nobody answers."""
        raise NotImplementedError("a file always answers")

    def check(self, *arguments: str, session: str = SESSION, **environ: str) -> Seen:
        """What the script says; it runs in this process, for Python takes longer to start than it does."""
        out, err = io.StringIO(), io.StringIO()
        surroundings = mock.patch.dict(os.environ, {**self.environ, **environ}, clear=True)
        with surroundings, contextlib.chdir(ROOT), redirect_stdout(out), redirect_stderr(err):
            status = _script().main([session, *arguments])
        return Seen(status, out.getvalue(), err.getvalue())

    def check_as_a_person(self, *arguments: str) -> Seen:
        """What it says as a command of its own."""
        return check(SESSION, *arguments, environ=self.environ)

    def inspector(self) -> Inspector:
        return open_inspector(Settings.from_env(self.environ))

    def do(self, work: Callable[[FullStore], Coroutine[Any, Any, T]]) -> T:
        """What a server does meanwhile. From outside of any loop: inspectors have their own."""

        async def run() -> T:
            store = self.store()
            try:
                await store.open()
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def fill(self) -> None:
        self.do(lambda store: talk_until_plan(Talk(store)))


@functools.cache
def _script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("check_session_state", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    return script
