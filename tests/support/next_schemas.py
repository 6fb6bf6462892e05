"""Schemas that this server does not have yet: what a next migration may look like, for SQLite."""

from typing import Final

from server.store.sqlite.migrate import MIGRATIONS, Migration

OWN: Final = MIGRATIONS[-1].version

#: One that only adds: the servers of today go on beside it. Several statements and pages, one of them a trigger.
ADDS: Final = Migration(
    OWN + 1,
    "moods",
    """
-- What a person felt; nobody asks yet.
alter table sessions add column mood text;
create table moods (
    session_id text primary key,  -- a `;` in a comment ends nothing; and this one
    mood       text not null
);
create trigger moods_follow after insert on sessions begin
    insert into moods values (new.session_id, 'calm');
    update sessions set mood = 'calm' where session_id = new.session_id;
end;
insert into moods select session_id, hex(randomblob(3000)) from sessions;
-- The end.
""",
    compatible_from=OWN,
)
#: One that takes away what the servers of today use.
TAKES: Final = Migration(OWN + 2, "no_pages", "drop index events_own;\n", compatible_from=OWN + 1)
#: One with a mistake behind statements that are none.
FAILS: Final = Migration(OWN + 1, "wrong", "alter table sessions add column mood text;\nno sql;\n", compatible_from=OWN)

ADDED: Final = (*MIGRATIONS, ADDS)
TAKEN: Final = (*MIGRATIONS, ADDS, TAKES)
FAILED: Final = (*MIGRATIONS, FAILS)
