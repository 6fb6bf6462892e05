"""A Chainlit conversation with its SQLAlchemy data layer on SQLite: `chainlit run chainlit_app.py`.

Chainlit answers first and writes afterwards, in tasks that nobody waits for: its turns are not durable when they end.
"""

import os
import sqlite3

import chainlit as cl
from chainlit.data.sql_alchemy import SQLAlchemyDataLayer
from chainlit.types import ThreadDict
from sqlalchemy import event

PATH = os.environ["BENCH_DATABASE"]
#: As its documentation has them, in the types that SQLite knows.
TABLES = """
create table if not exists users (
    "id" text primary key, "identifier" text not null unique, "metadata" text not null, "createdAt" text
);
create table if not exists threads (
    "id" text primary key, "createdAt" text, "name" text, "userId" text references users("id"), "userIdentifier" text,
    "tags" text, "metadata" text
);
create table if not exists steps (
    "id" text primary key, "name" text not null, "type" text not null, "threadId" text not null, "parentId" text,
    "streaming" boolean not null, "waitForAnswer" boolean, "isError" boolean, "metadata" text, "tags" text,
    "input" text, "output" text, "createdAt" text, "command" text, "modes" text, "start" text, "end" text,
    "generation" text, "showInput" text, "language" text, "indent" integer, "defaultOpen" boolean,
    "autoCollapse" boolean, "icon" text
);
create table if not exists elements (
    "id" text primary key, "threadId" text, "type" text, "url" text, "chainlitKey" text, "name" text not null,
    "display" text, "objectKey" text, "size" text, "page" integer, "language" text, "forId" text, "mime" text,
    "props" text, "autoPlay" boolean, "playerConfig" text
);
create table if not exists feedbacks (
    "id" text primary key, "forId" text not null, "threadId" text not null, "value" integer not null, "comment" text
);
"""


def connected(connection: sqlite3.Connection, _record: object) -> None:
    """The policy of everybody here."""
    cursor = connection.cursor()
    cursor.execute("pragma journal_mode = wal")
    cursor.execute("pragma synchronous = full")
    cursor.close()


def data_layer() -> SQLAlchemyDataLayer:
    """Its own layer, over a file that has the tables."""
    with sqlite3.connect(PATH) as connection:
        connection.executescript(TABLES)
    connection.close()
    layer = SQLAlchemyDataLayer(f"sqlite+aiosqlite:///{PATH}", connect_args={"timeout": 60})
    event.listen(layer.engine.sync_engine, "connect", connected)
    return layer


async def answer(message: cl.Message) -> None:
    """The echo."""
    cl.user_session.set("current_state", "HELLO")
    await cl.Message(content=f"you said {message.content}").send()


async def log_in(_headers: object) -> cl.User:
    """Everybody is the same user."""
    return cl.User(identifier="bench")


async def resume(_thread: ThreadDict) -> None:
    """Chainlit sends the thread itself."""


cl.data_layer(data_layer)
cl.header_auth_callback(log_in)
cl.on_message(answer)
cl.on_chat_resume(resume)
