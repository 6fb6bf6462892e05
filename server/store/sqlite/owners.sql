-- The identity of a session is its owner and its id: two owners may use the same id. The log knows a session by a number
-- of this file, which takes less room than both. Servers of before ask for columns that are gone, so they can neither
-- read nor write here.

alter table sessions rename to sessions_by_id;
alter table events rename to events_by_id;
drop index if exists sessions_by_user;
drop index if exists sessions_pending;
drop index if exists events_by_client;
drop index if exists events_decks;
drop index if exists events_own;

create table sessions (
    number     integer primary key,  -- never changes while the session is there; `session` in `events`
    session_id text not null,
    user_id    text not null,        -- the owner; stands in every statement
    workflow   text not null,
    state      text not null,
    memory     text not null,        -- JSON object
    version    integer not null,     -- counts turns; guards every turn
    seq        integer not null,     -- the last event
    cursor     integer not null,     -- the last user line that was answered
    lined      integer not null,     -- the last user line that was accepted
    visible    integer not null,     -- events that a person sees as items
    card       text,                 -- message id of the open action request
    created_at integer not null,
    updated_at integer not null,
    unique (session_id, user_id)     -- the id first: an operator knows that alone
);

insert into sessions
    select rowid, session_id, user_id, workflow, state, memory, version, seq, cursor, lined, visible, card, created_at,
           updated_at
    from sessions_by_id order by rowid;

create index sessions_by_user on sessions (user_id, updated_at desc);

-- Only sessions that wait for an answer stand in this index, so the sweep costs what it finds.
create index sessions_pending on sessions (updated_at) where lined > cursor;

create table events (
    session    integer not null,     -- the session's number
    seq        integer not null,
    type       text not null,
    role       text not null,
    message_id text not null,
    client_id  text,
    turn       integer not null,
    payload    text not null,        -- JSON object
    created_at integer not null,
    primary key (session, seq)
);

-- In the order in which they were written.
insert into events
    select s.number, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn, e.payload, e.created_at
    from events_by_id e join sessions s on s.session_id = e.session_id order by e.rowid;

drop table events_by_id;
drop table sessions_by_id;

-- A client's message id takes effect once, for the life of the session.
create unique index events_by_client on events (session, client_id) where client_id is not null;

-- The frames that are a workflow's own: all that its assistant says, but for what every workflow says.
create index events_own on events (message_id)
    where role = 'assistant' and type not in ('action_request', 'chat_message');
