-- The functions that write the log: commit and delete. JSON goes in and comes out, so that one call is one transaction
-- over any transport. They are for READ COMMITTED, where each statement sees what others committed before it began.
--
-- A write:    {"session_id", "user_id", "client_id"|null, "expected_version"|null, "visible",
--              "events": [[session_id, 0, type, role, message_id, client_id|null, turn, payload, created_at], …],
--              "update": null | {"workflow", "state", "cursor", "memory"|null, "card"|null}}
--             `payload` and `memory` are JSON as text; `visible` is how many of the events a person sees.
-- An outcome: ["committed", version, seq of the first event, [created_at of every event]] | ["duplicate", event]
--             | ["conflict", version] | ["missing"] | ["failed", SQLSTATE].

-- The outcomes of writes whose sessions the caller has locked. Round n takes the n-th write of every session, all in
-- one statement, so that each sees what those before it left, and a batch costs as many statements as its busiest
-- session has writes. A session of version 0 is an empty row of the caller's: until a write takes it, it does not exist.
create or replace function public.rejoinder_apply_v1(writes jsonb) returns json[]
language plpgsql security invoker set search_path = '' as $$
declare
    places bigint[] := '{}';
    outcomes json[] := '{}';
    round record;
begin
    for nth in 1..jsonb_array_length(writes) loop
        exit when cardinality(places) = jsonb_array_length(writes);
        with numbered as (
            select w.*, row_number() over (partition by w.session_id order by w.place) as number
            from rows from (jsonb_to_recordset(writes) as (
                session_id text, user_id text, client_id text, expected_version bigint, visible bigint, events jsonb,
                update jsonb
            )) with ordinality as w (session_id, user_id, client_id, expects, visible, events, change, place)
        ), judged as materialized (
            select n.place, n.session_id, n.user_id, n.expects, n.visible, n.events, n.change,
                   s.version, s.seq, s.updated_at, used.event as used,
                   case  -- the owner first: a stranger learns nothing
                       when s.session_id is null then 'missing'
                       when s.version = 0 and n.expects is distinct from 0 then 'missing'
                       when s.version > 0 and s.user_id <> n.user_id then 'missing'
                       when used.event is not null then 'duplicate'
                       when n.expects <> s.version then 'conflict'
                       -- A turn that brings its own line along names the seq that the line must get.
                       when n.events -> 0 ->> 3 = 'user' and (n.change ->> 'cursor')::bigint <> s.seq + 1
                           then 'conflict'
                       else 'committed'
                   end as outcome
            from numbered n
            left join public.rejoinder_sessions s on s.session_id = n.session_id
            left join lateral (
                select json_build_array(e.session_id, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn,
                                        e.payload, e.created_at) as event
                from public.rejoinder_events e where e.session_id = n.session_id and e.client_id = n.client_id
            ) used on true
            where n.number = nth
        ), appended as (
            -- A time is at least its event's own, and 1 ms after the one before it. A line is its own turn.
            insert into public.rejoinder_events
                (session_id, seq, type, role, message_id, client_id, turn, payload, created_at)
            select j.session_id, j.seq + e.number, e.value ->> 2, e.value ->> 3, e.value ->> 4, e.value ->> 5,
                   case e.value ->> 3 when 'user' then j.seq + e.number else (e.value ->> 6)::bigint end,
                   e.value ->> 7,
                   e.number + greatest(
                       j.updated_at,
                       max((e.value ->> 8)::bigint - e.number) over (partition by j.place order by e.number)
                   )
            from judged j, jsonb_array_elements(j.events) with ordinality e (value, number)
            where j.outcome = 'committed'
            returning session_id, seq, role, created_at
        ), added as (
            select a.session_id, min(a.seq) as first_seq, max(a.seq) as seq,
                   max(a.seq) filter (where a.role = 'user') as lined,
                   min(a.created_at) as created_at, max(a.created_at) as updated_at,
                   json_agg(a.created_at order by a.seq) as times
            from appended a group by a.session_id
        ), changed as (
            update public.rejoinder_sessions s set
                user_id = j.user_id,
                workflow = coalesce(j.change ->> 'workflow', s.workflow),
                state = coalesce(j.change ->> 'state', s.state),
                memory = coalesce(j.change ->> 'memory', s.memory),
                version = s.version + (j.expects is not null)::int,
                seq = a.seq,
                cursor = coalesce((j.change ->> 'cursor')::bigint, s.cursor),
                lined = greatest(a.lined, s.lined),
                visible = s.visible + j.visible,
                card = case when j.expects is null then s.card else j.change ->> 'card' end,
                created_at = case when s.seq = 0 then a.created_at else s.created_at end,
                updated_at = a.updated_at
            from judged j join added a on a.session_id = j.session_id
            where s.session_id = j.session_id and j.outcome = 'committed'
            returning j.place, json_build_array('committed', s.version, a.first_seq, a.times) as outcome
        )
        select array_agg(o.place) as places, array_agg(o.outcome) as outcomes into round
        from (
            select c.place, c.outcome from changed c
            union all
            select j.place,
                   case j.outcome
                       when 'duplicate' then json_build_array('duplicate', j.used)
                       when 'conflict' then json_build_array('conflict', j.version)
                       else json_build_array('missing')
                   end
            from judged j where j.outcome <> 'committed'
        ) o;
        places := places || round.places;
        outcomes := outcomes || round.outcomes;
    end loop;
    if cardinality(places) <> jsonb_array_length(writes) then
        raise internal_error using message = 'a session could not be changed: some trigger or policy is in the way';
    end if;
    return array(select o.outcome from unnest(places, outcomes) as o (place, outcome) order by o.place);
end
$$;

-- The same, and when it fails then write by write, so that a bad one fails alone. All at once first: that costs one
-- subtransaction for the batch and not one for each write.
create or replace function public.rejoinder_try_v1(writes jsonb) returns json[]
language plpgsql security invoker set search_path = '' as $$
declare
    outcomes json[] := '{}';
    item jsonb;
begin
    return public.rejoinder_apply_v1(writes);
exception when others then
    -- What is not about a write would fail the next one, too: no connection, no right, no room, a deadlock.
    if left(sqlstate, 2) in ('08', '25', '40', '42', '53', '55', '57', '58', 'XX') then
        raise;
    end if;
    if jsonb_array_length(writes) = 1 then
        return array[json_build_array('failed', sqlstate)];
    end if;
    for item in select w.value from jsonb_array_elements(writes) w loop
        outcomes := outcomes || public.rejoinder_try_v1(jsonb_build_array(item));
    end loop;
    return outcomes;
end
$$;

-- A batch as one transaction: an array of writes, an array of their outcomes in the same order. Without sequential
-- scans, because plans are kept: one that reads a whole table would do for the table of the first day only.
create or replace function public.rejoinder_commit_v1(writes jsonb) returns json
language plpgsql security invoker set search_path = '' set lock_timeout = '5s' set enable_seqscan = off as $$
declare
    ids text[] := array(select distinct w.value ->> 'session_id' from jsonb_array_elements(writes) w);
    made bigint;
    outcomes json[];
begin
    -- Every session is locked, in the order of the ids, so that no circle of waits can close; `where false` locks a
    -- row and changes nothing. One that is not there gets an empty row: of two who make it the second one waits, and
    -- none can appear later that is not locked.
    insert into public.rejoinder_sessions as s (session_id, user_id, workflow, state, memory, version, seq, cursor,
                                                lined, visible, card, created_at, updated_at)
    select w.id, '', '', '', '{}', 0, 0, 0, 0, 0, null, 0, 0
    from unnest(ids) as w (id) order by w.id collate "C"
    on conflict (session_id) do update set version = s.version where false;
    get diagnostics made = row_count;

    outcomes := public.rejoinder_try_v1(writes);
    if made > 0 then
        delete from public.rejoinder_sessions s where s.session_id = any (ids) and s.version = 0;
    end if;
    return array_to_json(outcomes);
end
$$;

-- Whether there was such a session of this owner; it is gone with its log. Two statements: the second one sees the
-- events that were committed while the first one waited for the lock.
create or replace function public.rejoinder_delete_v1(session text, owner text) returns json
language plpgsql security invoker set search_path = '' set lock_timeout = '5s' as $$
begin
    delete from public.rejoinder_sessions s where s.session_id = session and s.user_id = owner;
    if not found then
        return to_json(false);
    end if;
    delete from public.rejoinder_events e where e.session_id = session;
    return to_json(true);
end
$$;
