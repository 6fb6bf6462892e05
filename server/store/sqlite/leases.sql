-- Who is at work on a session, for processes that share one file. A lease ends by itself.

create table if not exists leases (
    session_id text not null,
    user_id    text not null,
    holder     text not null,
    until      integer not null,  -- UTC milliseconds
    primary key (session_id, user_id)
) without rowid;
