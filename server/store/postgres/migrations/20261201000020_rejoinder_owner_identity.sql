-- The identity of a session becomes its owner and its id: two owners may use the same id, and somebody else's id is an
-- unknown one. The keys get the owner, the id first, for an operator knows that alone.
--
-- Servers of before go on beside it: the functions that they call keep their names, and what goes in and comes out of
-- them. Only what is stored and asked for inside is new.

do $$
begin
    if not exists (
        select from pg_catalog.pg_attribute a
        where a.attrelid = 'public.rejoinder_events'::regclass and a.attname = 'user_id' and not a.attisdropped
    ) then
        -- Without its indexes first: every row is written anew, and would have to be put into each of them.
        alter table public.rejoinder_events drop constraint rejoinder_events_pkey;
        drop index public.rejoinder_events_by_client;
        alter table public.rejoinder_events add column user_id text collate "C";
        update public.rejoinder_events e set user_id = s.user_id
            from public.rejoinder_sessions s where s.session_id = e.session_id;
        update public.rejoinder_events set user_id = '' where user_id is null;  -- of no session: an operator's to see
        alter table public.rejoinder_events alter column user_id set not null;
        alter table public.rejoinder_events add primary key (session_id, user_id, seq);
        -- A client's message id takes effect once, for the life of the session.
        create unique index rejoinder_events_by_client
            on public.rejoinder_events (session_id, user_id, client_id) where client_id is not null;
        alter table public.rejoinder_sessions drop constraint rejoinder_sessions_pkey;
        alter table public.rejoinder_sessions add primary key (session_id, user_id);
        -- Of an expression, which only the list of a user's sessions names. Of the column it would do for a look-up of
        -- one session, too: in a small table the planner may prefer it to the key, and it keeps the plan for the large
        -- one, where it would read every session of the user.
        drop index public.rejoinder_sessions_by_user;
        create index rejoinder_sessions_by_user on public.rejoinder_sessions ((user_id || ''), updated_at desc);
    end if;
end
$$;

-- ------------------------------------------------------------ what writes

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
            select w.*, row_number() over (partition by w.session_id, w.user_id order by w.place) as number
            from rows from (jsonb_to_recordset(writes) as (
                session_id text, user_id text, client_id text, expected_version bigint, visible bigint, events jsonb,
                update jsonb
            )) with ordinality as w (session_id, user_id, client_id, expects, visible, events, change, place)
        ), judged as materialized (
            select n.place, n.session_id, n.user_id, n.expects, n.visible, n.events, n.change,
                   s.version, s.seq, s.updated_at, used.event as used,
                   case
                       when s.session_id is null then 'missing'
                       when s.version = 0 and n.expects is distinct from 0 then 'missing'
                       when used.event is not null then 'duplicate'
                       when n.expects <> s.version then 'conflict'
                       -- A turn that brings its own line along names the seq that the line must get.
                       when n.events -> 0 ->> 3 = 'user' and (n.change ->> 'cursor')::bigint <> s.seq + 1
                           then 'conflict'
                       else 'committed'
                   end as outcome
            from numbered n
            left join public.rejoinder_sessions s on s.session_id = n.session_id and s.user_id = n.user_id
            left join lateral (
                select json_build_array(e.session_id, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn,
                                        e.payload, e.created_at) as event
                from public.rejoinder_events e
                where e.session_id = n.session_id and e.user_id = n.user_id and e.client_id = n.client_id
            ) used on true
            where n.number = nth
        ), appended as (
            -- A time is at least its event's own, and 1 ms after the one before it. A line is its own turn.
            insert into public.rejoinder_events
                (session_id, user_id, seq, type, role, message_id, client_id, turn, payload, created_at)
            select j.session_id, j.user_id,
                   j.seq + e.number, e.value ->> 2, e.value ->> 3, e.value ->> 4, e.value ->> 5,
                   case e.value ->> 3 when 'user' then j.seq + e.number else (e.value ->> 6)::bigint end,
                   e.value ->> 7,
                   e.number + greatest(
                       j.updated_at,
                       max((e.value ->> 8)::bigint - e.number) over (partition by j.place order by e.number)
                   )
            from judged j, jsonb_array_elements(j.events) with ordinality e (value, number)
            where j.outcome = 'committed'
            returning session_id, user_id, seq, role, created_at
        ), added as (
            select a.session_id, a.user_id, min(a.seq) as first_seq, max(a.seq) as seq,
                   max(a.seq) filter (where a.role = 'user') as lined,
                   min(a.created_at) as created_at, max(a.created_at) as updated_at,
                   json_agg(a.created_at order by a.seq) as times
            from appended a group by a.session_id, a.user_id
        ), changed as (
            update public.rejoinder_sessions s set
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
            from judged j join added a on a.session_id = j.session_id and a.user_id = j.user_id
            where s.session_id = j.session_id and s.user_id = j.user_id and j.outcome = 'committed'
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

create or replace function public.rejoinder_commit_v1(writes jsonb) returns json
language plpgsql security invoker set search_path = '' set lock_timeout = '5s' set enable_seqscan = off as $$
declare
    made bigint;
    outcomes json[];
begin
    -- Every session is locked, in the order of the ids and owners, so that no circle of waits can close; `where false`
    -- locks a row and changes nothing. One that is not there gets an empty row: of two who make it the second one
    -- waits, and none can appear later that is not locked.
    insert into public.rejoinder_sessions as s (session_id, user_id, workflow, state, memory, version, seq, cursor,
                                                lined, visible, card, created_at, updated_at)
    select w.session_id, w.user_id, '', '', '{}', 0, 0, 0, 0, 0, null, 0, 0
    from (
        select distinct v.value ->> 'session_id' as session_id, v.value ->> 'user_id' as user_id
        from jsonb_array_elements(writes) v
    ) w
    order by w.session_id collate "C", w.user_id collate "C"
    on conflict (session_id, user_id) do update set version = s.version where false;
    get diagnostics made = row_count;

    outcomes := public.rejoinder_try_v1(writes);
    if made > 0 then
        delete from public.rejoinder_sessions s using jsonb_array_elements(writes) v
        where s.session_id = v.value ->> 'session_id' and s.user_id = v.value ->> 'user_id' and s.version = 0;
    end if;
    return array_to_json(outcomes);
end
$$;

create or replace function public.rejoinder_delete_v1(session text, owner text) returns json
language plpgsql security invoker set search_path = '' set lock_timeout = '5s' as $$
begin
    delete from public.rejoinder_sessions s where s.session_id = session and s.user_id = owner;
    if not found then
        return to_json(false);
    end if;
    delete from public.rejoinder_events e where e.session_id = session and e.user_id = owner;
    return to_json(true);
end
$$;

-- ------------------------------------------------------------ what reads

create or replace function public.rejoinder_load_v1(session text, owner text, after bigint, page integer) returns json
language sql stable security invoker set search_path = '' as $$
    select json_build_array(
        json_build_array(s.session_id, s.user_id, s.workflow, s.state, s.memory, s.version, s.seq, s.cursor, s.lined,
                         s.visible, s.card, s.created_at, s.updated_at),
        (
            select coalesce(json_agg(
                json_build_array(e.session_id, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn, e.payload,
                                 e.created_at) order by e.seq), '[]')
            from (
                select * from public.rejoinder_events l
                where l.session_id = s.session_id and l.user_id = s.user_id and l.seq > $3
                order by l.seq limit greatest($4, 0)
            ) e
        ),
        (
            select coalesce(json_agg(
                json_build_array(e.session_id, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn, e.payload,
                                 e.created_at) order by e.seq), '[]')
            from public.rejoinder_events e
            where e.session_id = s.session_id and e.user_id = s.user_id and e.seq > s.cursor and e.seq <= s.lined
                and e.role = 'user'
        )
    )
    from public.rejoinder_sessions s
    where s.session_id = $1 and s.user_id = $2
$$;

create or replace function public.rejoinder_read_v1(session text, owner text, after bigint, page integer) returns json
language sql stable security invoker set search_path = '' as $$
    select coalesce(json_agg(
        json_build_array(e.session_id, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn, e.payload,
                         e.created_at) order by e.seq), '[]')
    from (
        select * from public.rejoinder_events l
        where l.session_id = $1 and l.user_id = $2 and l.seq > $3
        order by l.seq limit greatest($4, 0)
    ) e
$$;

create or replace function public.rejoinder_find_v1(session text, owner text, client text) returns json
language sql stable security invoker set search_path = '' as $$
    select json_build_array(e.session_id, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn, e.payload,
                            e.created_at)
    from public.rejoinder_events e
    where e.session_id = $1 and e.user_id = $2 and e.client_id = $3
$$;

create or replace function public.rejoinder_list_v1(owner text, page integer) returns json
language sql stable security invoker set search_path = '' as $$
    select coalesce(json_agg(
        json_build_array(o.session_id, o.user_id, o.workflow, o.state, o.seq, o.created_at, o.updated_at)
        order by o.updated_at desc), '[]')
    from (
        select * from public.rejoinder_sessions s where (s.user_id || '') = $1
        order by s.updated_at desc limit greatest($2, 0)
    ) o
$$;

-- ------------------------------------------------------------ for an operator

-- For scripts/check_session_state.py; a server never calls these two.
-- [user_id, …] of those who have a session of this id, or events of one: at most `page`.
create or replace function public.rejoinder_owners_v1(session text, page integer) returns json
language sql stable security invoker set search_path = '' as $$
    select coalesce(json_agg(o.user_id order by o.user_id), '[]')
    from (
        select s.user_id from public.rejoinder_sessions s where s.session_id = $1
        union
        select e.user_id from public.rejoinder_events e where e.session_id = $1
        order by user_id limit greatest($2, 0)
    ) o
$$;

-- [null or the snapshot, null or the ms for which a lease on the session still runs, null or the last seq of its log,
--  [events behind `after`, at most `page`]].
create or replace function public.rejoinder_inspect_v2(session text, owner text, after bigint, page integer)
returns json language sql stable security invoker set search_path = '' as $$
    select json_build_array(
        (
            select json_build_array(s.session_id, s.user_id, s.workflow, s.state, s.memory, s.version, s.seq, s.cursor,
                                    s.lined, s.visible, s.card, s.created_at, s.updated_at)
            from public.rejoinder_sessions s where s.session_id = $1 and s.user_id = $2
        ),
        (
            select ceil(extract(epoch from l.until - clock_timestamp()) * 1000)::bigint
            from public.rejoinder_leases l
            join public.rejoinder_sessions s on s.session_id = l.session_id and s.user_id = l.user_id
            where l.session_id = $1 and l.user_id = $2 and l.until > clock_timestamp()
        ),
        (select max(e.seq) from public.rejoinder_events e where e.session_id = $1 and e.user_id = $2),
        (
            select coalesce(json_agg(
                json_build_array(e.session_id, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn, e.payload,
                                 e.created_at) order by e.seq), '[]')
            from (
                select * from public.rejoinder_events l
                where l.session_id = $1 and l.user_id = $2 and l.seq > $3 order by l.seq limit greatest($4, 0)
            ) e
        )
    )
$$;

-- ------------------------------------------------------------ what this is, and who may do what

create or replace function public.rejoinder_schema_v1() returns json
language sql stable security invoker set search_path = '' as $$
    select json_build_object('version', 3, 'compatible_from', 1)
$$;

do $$
declare
    called record;
    name text;
begin
    for called in
        select p.oid::regprocedure as signature from pg_catalog.pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proname ~ '^rejoinder_[a-z]+_v[0-9]+$'
    loop
        execute format('revoke execute on function %s from public', called.signature);
        foreach name in array array['anon', 'authenticated'] loop
            if to_regrole(name) is not null then
                execute format('revoke execute on function %s from %I', called.signature, name);
            end if;
        end loop;
        if to_regrole('service_role') is not null then
            execute format('grant execute on function %s to service_role', called.signature);
        end if;
    end loop;

    -- The owner stands in the events now: signed-in users read their own without a look at the sessions.
    if to_regrole('authenticated') is not null then
        drop policy if exists rejoinder_sessions_of_their_owner on public.rejoinder_sessions;
        create policy rejoinder_sessions_of_their_owner on public.rejoinder_sessions for select to authenticated
            using ((user_id || '') = (select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'));
        drop policy if exists rejoinder_events_of_their_owner on public.rejoinder_events;
        create policy rejoinder_events_of_their_owner on public.rejoinder_events for select to authenticated
            using (user_id = (select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'));
    end if;
end
$$;

notify pgrst, 'reload schema';
