-- A batch whose outcomes are known, as one statement: all of it, or nothing where a session is no longer as it was
-- thought to be. In memory, of one connection.

create temp view batch as select '' as changes, '' as log;

create temp trigger batch_written instead of insert on batch begin
    select raise(abort, 'a session has moved on')
    where json_array_length(new.changes) <> (
        select count(*) from json_each(new.changes) as change cross join sessions
            on session_id = json_extract(change.value, '$[0]')
        where user_id = json_extract(change.value, '$[1]')
            and version = json_extract(change.value, '$[2]')
            and seq = json_extract(change.value, '$[3]')
            and updated_at = json_extract(change.value, '$[4]')
    );
    update sessions set
        workflow = json_extract(change.value, '$[5]'),
        state = json_extract(change.value, '$[6]'),
        memory = coalesce(json_extract(change.value, '$[7]'), memory),
        version = json_extract(change.value, '$[8]'),
        seq = json_extract(change.value, '$[9]'),
        cursor = json_extract(change.value, '$[10]'),
        lined = json_extract(change.value, '$[11]'),
        visible = json_extract(change.value, '$[12]'),
        card = json_extract(change.value, '$[13]'),
        updated_at = json_extract(change.value, '$[14]')
    from json_each(new.changes) as change
    where session_id = json_extract(change.value, '$[0]') and user_id = json_extract(change.value, '$[1]');
    insert into events
        select
            json_extract(event.value, '$[0]'), json_extract(event.value, '$[1]'), json_extract(event.value, '$[2]'),
            json_extract(event.value, '$[3]'), json_extract(event.value, '$[4]'), json_extract(event.value, '$[5]'),
            json_extract(event.value, '$[6]'), json_extract(event.value, '$[7]'), json_extract(event.value, '$[8]')
        from json_each(new.log) as event;
end;
