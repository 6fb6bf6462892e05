"""`python -m server`: read the environment, start the server, drain it when the platform says so.

Behind it may stand one of COMMANDS and its arguments.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from types import FrameType
from typing import Any, Final, NoReturn

import structlog
import uvicorn
from starlette.applications import Starlette

from server.app import create_app
from server.errors import ConfigError, StoreUnavailable, WorkflowError
from server.ops import check_workflow, logs, migrate
from server.ops.workers import Inherited, Supervisor, inherited, listen
from server.settings import Settings
from server.web.uvicorn_socket import BoundedWebSocketProtocol
from server.web.websocket import Gateway
from server.workflows.table import Workflow

log = structlog.get_logger()

#: How long uvicorn waits for sockets after the drain, in seconds.
_GRACEFUL_S = 3
#: How long one thread may keep the interpreter, in seconds. With the default of 0.005 a busy event loop starves the
#: store's writer thread, which needs the interpreter for a moment many times a batch.
_SWITCH_INTERVAL_S = 0.0002
#: How many more objects than were let go are made before cycles among them are looked for. A turn makes hundreds that
#: go by themselves, and each look at old ones walks through all sessions.
_GARBAGE = 5_000


#: How often, and for how long at a time (in seconds), the tasks are ended that are left at the very end.
_ROUNDS = 3
_ROUND_S = 0.5
#: How many tasks that do not end are named in the log.
_NAMED = 20


class DrainingServer(uvicorn.Server):
    """uvicorn closes every socket before the application hears of the end; here the drain comes first."""

    def __init__(self, config: uvicorn.Config, app: Starlette, parent: Inherited | None = None) -> None:
        super().__init__(config)
        self._app = app
        self._parent = parent
        self._gateway: Gateway = app.state.gateway
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: asyncio.Task[None] | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal. After an orderly stop the process ends with status 0."""
        self._loop = asyncio.get_running_loop()
        if (
            self._parent is not None
        ):  # the lifeline ends when the parent dies: then no process is left that would send the signal
            self._loop.add_reader(self._parent.lifeline, self._orphaned, self._parent.lifeline)
            sockets = [self._parent.listening]
        try:
            # Not by uvicorn: it would report a missing disk to the person on call in forty lines.
            async with self._app.router.lifespan_context(self._app):
                await super().serve(sockets)
        except (StoreUnavailable, ConfigError) as error:
            log.critical("cannot_start", reason=str(error))
        finally:
            if left := await _end_tasks():
                self._leave(left)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A first signal drains, a second one ends at once."""
        if self._drain is None and self._loop is not None and self.started:
            self._loop.call_soon_threadsafe(self._start_drain)
        else:
            self.force_exit = sig == signal.SIGINT
            self.should_exit = True

    def _leave(self, left: Collection[asyncio.Task[Any]]) -> NoReturn:
        """End the process beside tasks that swallow their cancellation: asyncio would wait for them without a bound."""
        log.error("tasks_left", tasks=sorted(task.get_name() for task in left)[:_NAMED])
        logging.shutdown()
        sys.stderr.flush()
        os._exit(0 if self.started else 1)

    def _orphaned(self, lifeline: int) -> None:
        asyncio.get_running_loop().remove_reader(lifeline)
        log.error("parent_lost")
        self.handle_exit(signal.SIGTERM, None)

    def _start_drain(self) -> None:
        log.info("draining")
        self._drain = asyncio.get_running_loop().create_task(self._gateway.drain())
        self._drain.add_done_callback(lambda _: setattr(self, "should_exit", True))


async def _end_tasks() -> set[asyncio.Task[Any]]:
    """Cancel the tasks that a hasty stop has left, and the tasks that those start: a driver disconnects in its own.

    Returns the tasks that still run then.
    """
    for _ in range(_ROUNDS):
        if left := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_ROUND_S)
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def main(workflows: Mapping[str, Workflow] | None = None) -> int:
    """Run the server with the environment's settings; the exit status says whether it could start."""
    try:
        settings = Settings.from_env(os.environ)
        logs.configure(settings.log_level, settings.log_format)
        app = create_app(settings, workflows=workflows)
    except (ConfigError, WorkflowError) as error:
        print("The server cannot start:", *error.complaints, sep="\n  ", file=sys.stderr)  # noqa: T201
        return 2
    parent = inherited(os.environ)
    if parent is None:
        print(f"Rejoinder is listening on http://{settings.host}:{settings.port}", file=sys.stderr)  # noqa: T201
        if settings.web_concurrency > 1:
            return _supervise(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        ws=BoundedWebSocketProtocol,
        ws_max_size=settings.socket_max_bytes,
        ws_per_message_deflate=settings.ws_compression,
        timeout_graceful_shutdown=_GRACEFUL_S,
        lifespan="off",  # DrainingServer opens and closes what the application needs
        log_config=None,
        access_log=False,
        server_header=False,
    )
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    server = DrainingServer(config, app, parent)
    server.run()
    return 0 if server.started else 1


def _supervise(settings: Settings) -> int:
    try:
        listening = listen(settings.host, settings.port)
    except OSError as error:
        log.critical("cannot_start", reason=f"cannot listen on {settings.host}:{settings.port}: {error.strerror}")
        return 1
    return Supervisor(settings.web_concurrency, listening).run()


#: What can stand behind `python -m server`; nothing starts the server.
COMMANDS: Final[Mapping[str, Callable[[Sequence[str]], int]]] = {
    "check-workflow": check_workflow.main,
    "migrate": migrate.main,
}


def run_command(arguments: Sequence[str]) -> int:
    """Start the server, or run the command that the arguments begin with; the exit status is 2 for an unknown one."""
    if not arguments:
        return main()
    name, *others = arguments
    if name in COMMANDS:
        return COMMANDS[name](others)
    known = ", ".join(COMMANDS)
    if name in ("-h", "--help"):
        print(f"python -m server: start the server. python -m server COMMAND: {known}. Settings: .env.example")  # noqa: T201
        return 0
    print(f"There is no command {name!r}: nothing starts the server, else one of {known}.", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1:]))
