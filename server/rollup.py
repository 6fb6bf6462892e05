"""Pieces of a streamed answer, rolled up: a model says a few characters at a time, and each frame costs every tab.

What a step says within a moment goes out as one piece; what it shows or ends with goes out behind the text before it.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from server.signals import Input, Streamed


async def roll_up(outputs: AsyncGenerator[Input, None], *, wait_ms: int, max_chars: int) -> AsyncGenerator[Input, None]:
    """The same inputs, with neighbouring pieces of text joined.

    The first piece goes out at once, so that the answer is seen to begin. Later ones wait `wait_ms` at most for the
    next, and go out when they are `max_chars` long. Closing or cancelling this ends `outputs` too.
    """
    loop = asyncio.get_running_loop()
    held: Streamed | None = None
    goes_at = loop.time()
    coming: asyncio.Task[Input | None] | None = None
    async with aclosing(outputs):
        try:
            while True:
                if held is None:
                    output = await anext(outputs, None)  # nothing waits, so no task is needed to wait beside
                else:
                    coming = coming or asyncio.create_task(_next(outputs))
                    await asyncio.wait([coming], timeout=max(0.0, goes_at - loop.time()))
                    if not coming.done():
                        yield held
                        held, goes_at = None, loop.time() + wait_ms / 1000
                        output = await coming
                    else:
                        output = coming.result()
                    coming = None
                if isinstance(output, Streamed):
                    held = Streamed(output.run, held.text + output.text, held.message_id) if held else output
                    if len(held.text) < max_chars and loop.time() < goes_at:
                        continue
                    yield held
                    held, goes_at = None, loop.time() + wait_ms / 1000
                    continue
                if held is not None:
                    yield held
                    held = None
                if output is None:
                    return
                yield output
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)


async def _next(outputs: AsyncGenerator[Input, None]) -> Input | None:
    return await anext(outputs, None)
