-- The tables of the SQLite store as they were made first: schema 1. Times are UTC milliseconds, JSON is text.

create table if not exists sessions (
    session_id text primary key,
    user_id    text not null,     -- the owner; stands in every statement
    workflow   text not null,
    state      text not null,
    memory     text not null,     -- JSON object
    version    integer not null,  -- counts turns; guards every turn
    seq        integer not null,  -- the last event
    cursor     integer not null,  -- the last user line that was answered
    lined      integer not null,  -- the last user line that was accepted
    visible    integer not null,  -- events that a person sees as items
    card       text,              -- message id of the open action request
    created_at integer not null,
    updated_at integer not null
);

create index if not exists sessions_by_user on sessions (user_id, updated_at desc);

-- Only sessions that wait for an answer stand in this index, so the sweep costs what it finds.
create index if not exists sessions_pending on sessions (updated_at) where lined > cursor;

create table if not exists events (
    session_id text not null,
    seq        integer not null,
    type       text not null,
    role       text not null,
    message_id text not null,
    client_id  text,
    turn       integer not null,
    payload    text not null,     -- JSON object
    created_at integer not null,
    primary key (session_id, seq)
) without rowid;

-- A client's message id takes effect once, for the life of the session.
create unique index if not exists events_by_client on events (session_id, client_id) where client_id is not null;

-- A deck is the slide_update it was made from.
create index if not exists events_decks on events (message_id) where type = 'slide_update';
