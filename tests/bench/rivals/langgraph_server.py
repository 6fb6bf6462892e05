"""A LangGraph conversation behind a Starlette socket: one node, the SQLite checkpointer, `durability="sync"`.

It speaks the frames of the floor, so that the same client talks to it. Both frames of a line go when its checkpoints
are committed: the library tells nobody when the line alone is. `python -m tests.bench.rivals.langgraph_server PORT`.
"""

import operator
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

import aiosqlite
import uvicorn
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.bench.floor import frame


class Talk(TypedDict, total=False):
    """The state of a conversation."""

    messages: Annotated[list[dict[str, str]], operator.add]
    current_state: str


async def echo(state: Talk) -> Talk:
    """The one node."""
    words = state["messages"][-1]["text"]
    return {"messages": [{"role": "assistant", "text": f"you said {words}"}], "current_state": "HELLO"}


def draw() -> Any:
    """The graph."""
    graph = StateGraph(Talk)
    graph.add_node("echo", echo)
    graph.add_edge(START, "echo")
    graph.add_edge("echo", END)
    return graph


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with aiosqlite.connect(os.environ["BENCH_DATABASE"]) as connection:
        saver = AsyncSqliteSaver(connection)
        await saver.setup()  # WAL
        await connection.execute("pragma synchronous = full")
        app.state.graph = draw().compile(checkpointer=saver)
        yield


async def talk(socket: WebSocket) -> None:
    """One connection: the state as it is, then two frames for each line."""
    session_id = socket.query_params["session_id"]
    graph, config = socket.app.state.graph, {"configurable": {"thread_id": session_id}}
    await socket.accept(subprotocol="rejoinder.v1")
    messages = (await graph.aget_state(config)).values.get("messages", [])
    for said in messages:
        await socket.send_text(frame(session_id, "history", said["role"], {"text": said["text"]}))
    await socket.send_text(frame(session_id, "live", "system", {"head": len(messages)}))
    try:
        while True:
            line = await socket.receive_json()
            said = {"role": "user", "text": line["data"]["text"]}
            state = await graph.ainvoke({"messages": [said]}, config, durability="sync")
            ack = {"id": line["id"], "seq": len(state["messages"]), "duplicate": False}
            await socket.send_text(frame(session_id, "ack", "system", ack))
            await socket.send_text(frame(session_id, "chat_message", "assistant", state["messages"][-1]))
    except WebSocketDisconnect:
        return


async def ready(_request: Request) -> Response:
    """It serves."""
    return Response()


def main() -> None:
    """Serve until a signal."""
    app = Starlette(routes=[WebSocketRoute("/ws", talk), Route("/readyz", ready)], lifespan=lifespan)
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        loop="uvloop",
        log_config=None,
        access_log=False,
    )


if __name__ == "__main__":
    main()
