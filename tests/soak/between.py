"""What the processes have between them: a Redis of this run, an address where nobody listens, or nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, NamedTuple

from tests.services.redis import PLAIN, redis_server
from tests.soak.ports import free_ports
from tests.soak.troubles import between_troubles
from tests.soak.weather import Trouble

#: As `--redis` says it.
Redis = Literal["yes", "no", "dead"]


class Between(NamedTuple):
    """What the servers' environment says of it, and what befalls it."""

    environ: Mapping[str, str]
    troubles: Sequence[Trouble]


@contextlib.asynccontextmanager
async def open_between(redis: Redis) -> AsyncIterator[Between]:
    """What `redis` asks for, for as long as the run lasts."""
    match redis:
        case "no":
            yield Between({}, ())
        case "dead":
            yield Between({"REDIS_URL": f"redis://127.0.0.1:{free_ports(1)[0]}/0"}, ())
        case "yes":
            with contextlib.ExitStack() as own:
                server = await asyncio.to_thread(own.enter_context, redis_server(PLAIN))
                yield Between({"REDIS_URL": server.url}, between_troubles(server))
