-- The log in the order in which it is written, and an index to find a session's part of it. Kept by session, as it was
-- before, each turn of each session changes a page of its own, and all of them are written twice: this halves that.

alter table events rename to events_by_session;
drop index if exists events_by_client;
drop index if exists events_decks;

create table events (
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
);

insert into events
    select session_id, seq, type, role, message_id, client_id, turn, payload, created_at
    from events_by_session order by session_id, seq;

drop table events_by_session;

-- A client's message id takes effect once, for the life of the session.
create unique index events_by_client on events (session_id, client_id) where client_id is not null;

-- A deck is the slide_update it was made from.
create index events_decks on events (message_id) where type = 'slide_update';
