-- The tables of Rejoinder on PostgreSQL 14 and later, Supabase included. Times are UTC milliseconds.
--
-- Ids are text, for the ids of users need not be UUIDs; in the collation "C", so that their order and their indexes
-- outlive an upgrade of the system's locales. `payload` and `memory` are text that holds JSON, not jsonb: jsonb
-- refuses the escape of a NUL and writes numbers anew, and the log must come back to the letter.
-- `seq` is counted in the session's row and not by a sequence, whose numbers may become visible out of order.

create table if not exists public.rejoinder_sessions (
    session_id text collate "C" primary key,
    user_id    text collate "C" not null,  -- the owner; stands in every statement
    workflow   text not null,
    state      text not null,
    memory     text not null,              -- JSON object
    version    bigint not null,            -- counts turns; guards every turn
    seq        bigint not null,            -- the last event
    cursor     bigint not null,            -- the last user line that was answered
    lined      bigint not null,            -- the last user line that was accepted
    visible    bigint not null,            -- events that a person sees as items
    card       text,                       -- message id of the open action request
    created_at bigint not null,
    updated_at bigint not null
);

create index if not exists rejoinder_sessions_by_user on public.rejoinder_sessions (user_id, updated_at desc);

-- Only sessions that wait for an answer stand in this index, so the sweep costs what it finds.
create index if not exists rejoinder_sessions_pending on public.rejoinder_sessions (updated_at) where lined > cursor;

create table if not exists public.rejoinder_events (
    session_id text collate "C" not null,
    seq        bigint not null,
    type       text not null,
    role       text not null,
    message_id text collate "C" not null,
    client_id  text collate "C",
    turn       bigint not null,
    payload    text not null,              -- JSON object
    created_at bigint not null,
    primary key (session_id, seq)
);

-- A client's message id takes effect once, for the life of the session.
create unique index if not exists rejoinder_events_by_client
    on public.rejoinder_events (session_id, client_id) where client_id is not null;

-- A deck is the slide_update it was made from.
create index if not exists rejoinder_events_decks on public.rejoinder_events (message_id) where type = 'slide_update';

-- What `python -m server migrate` has applied. Without rows, the files were run by hand.
create table if not exists public.rejoinder_migrations (
    version    text primary key,           -- the number in a file's name
    name       text not null,              -- the rest of it
    sha256     text not null,              -- of the file's text
    applied_at timestamptz not null default now()
);

-- Who is at work on a session: a courtesy between processes, which guards nothing. Not logged: a crash may forget it,
-- and taking a lease waits for no disk. There need not be such a session.
create unlogged table if not exists public.rejoinder_leases (
    session_id text collate "C" not null,
    user_id    text collate "C" not null,
    holder     text not null,
    until      timestamptz not null,       -- by the database's clock
    primary key (session_id, user_id)
);

create index if not exists rejoinder_leases_by_end on public.rejoinder_leases (until);

-- Closed to everybody but their owner until a policy opens them: see rejoinder_access.
alter table public.rejoinder_sessions enable row level security;
alter table public.rejoinder_events enable row level security;
alter table public.rejoinder_migrations enable row level security;
alter table public.rejoinder_leases enable row level security;
