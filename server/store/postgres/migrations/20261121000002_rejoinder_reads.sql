-- The functions that read. Each is one statement, so that all of its answer is of one moment. Rows are arrays:
-- an event is    [session_id, seq, type, role, message_id, client_id, turn, payload, created_at],
-- a snapshot     [session_id, user_id, workflow, state, memory, version, seq, cursor, lined, visible, card,
--                 created_at, updated_at].

-- null, or [snapshot, [events behind `after`, at most `page`], [lines without an answer]].
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
                where l.session_id = s.session_id and l.seq > $3 order by l.seq limit greatest($4, 0)
            ) e
        ),
        (
            select coalesce(json_agg(
                json_build_array(e.session_id, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn, e.payload,
                                 e.created_at) order by e.seq), '[]')
            from public.rejoinder_events e
            where e.session_id = s.session_id and e.seq > s.cursor and e.seq <= s.lined and e.role = 'user'
        )
    )
    from public.rejoinder_sessions s
    where s.session_id = $1 and s.user_id = $2
$$;

-- [events behind `after`, at most `page`].
create or replace function public.rejoinder_read_v1(session text, owner text, after bigint, page integer) returns json
language sql stable security invoker set search_path = '' as $$
    select coalesce(json_agg(
        json_build_array(e.session_id, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn, e.payload,
                         e.created_at) order by e.seq), '[]')
    from (
        select * from public.rejoinder_events l
        where l.session_id = $1 and l.seq > $3
            and exists (select from public.rejoinder_sessions s where s.session_id = $1 and s.user_id = $2)
        order by l.seq limit greatest($4, 0)
    ) e
$$;

-- null, or the event that took effect under a client's id.
create or replace function public.rejoinder_find_v1(session text, owner text, client text) returns json
language sql stable security invoker set search_path = '' as $$
    select json_build_array(e.session_id, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn, e.payload,
                            e.created_at)
    from public.rejoinder_events e
    where e.session_id = $1 and e.client_id = $3
        and exists (select from public.rejoinder_sessions s where s.session_id = $1 and s.user_id = $2)
$$;

-- null, or the slide_update of this id, whoever owns it: a deck's link is a capability.
create or replace function public.rejoinder_deck_v1(message text) returns json
language sql stable security invoker set search_path = '' as $$
    select json_build_array(e.session_id, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn, e.payload,
                            e.created_at)
    from public.rejoinder_events e
    where e.message_id = $1 and e.type = 'slide_update'
    order by e.session_id, e.seq limit 1
$$;

-- [[session_id, user_id], …] of sessions with an unanswered line and no change after `before_ms`, oldest first.
create or replace function public.rejoinder_pending_v1(before_ms bigint, page integer) returns json
language sql stable security invoker set search_path = '' as $$
    select coalesce(json_agg(json_build_array(p.session_id, p.user_id) order by p.updated_at), '[]')
    from (
        select s.session_id, s.user_id, s.updated_at from public.rejoinder_sessions s
        where s.lined > s.cursor and s.updated_at <= $1
        order by s.updated_at limit greatest($2, 0)
    ) p
$$;

-- [[session_id, user_id, workflow, state, seq, created_at, updated_at], …] of an owner, latest first.
create or replace function public.rejoinder_list_v1(owner text, page integer) returns json
language sql stable security invoker set search_path = '' as $$
    select coalesce(json_agg(
        json_build_array(o.session_id, o.user_id, o.workflow, o.state, o.seq, o.created_at, o.updated_at)
        order by o.updated_at desc), '[]')
    from (
        select * from public.rejoinder_sessions s where s.user_id = $1
        order by s.updated_at desc limit greatest($2, 0)
    ) o
$$;

-- The last seq of each [session_id, user_id], 0 where there is no such session for that user; in the order asked.
create or replace function public.rejoinder_heads_v1(sessions jsonb) returns json
language sql stable security invoker set search_path = '' as $$
    select coalesce(json_agg(coalesce(s.seq, 0) order by a.ordinality), '[]')
    from jsonb_array_elements($1) with ordinality a
    left join public.rejoinder_sessions s on s.session_id = a.value ->> 0 and s.user_id = a.value ->> 1
$$;

-- For scripts/check_session_state.py, which knows a session and not its owner; a server never calls it.
-- [null or the snapshot, null or the ms for which a lease on the session still runs, null or the last seq of its log,
--  [events behind `after`, at most `page`]].
create or replace function public.rejoinder_inspect_v1(session text, after bigint, page integer) returns json
language sql stable security invoker set search_path = '' as $$
    select json_build_array(
        (
            select json_build_array(s.session_id, s.user_id, s.workflow, s.state, s.memory, s.version, s.seq, s.cursor,
                                    s.lined, s.visible, s.card, s.created_at, s.updated_at)
            from public.rejoinder_sessions s where s.session_id = $1
        ),
        (
            select ceil(extract(epoch from l.until - clock_timestamp()) * 1000)::bigint
            from public.rejoinder_leases l
            join public.rejoinder_sessions s on s.session_id = l.session_id and s.user_id = l.user_id
            where l.session_id = $1 and l.until > clock_timestamp()
        ),
        (select max(e.seq) from public.rejoinder_events e where e.session_id = $1),
        (
            select coalesce(json_agg(
                json_build_array(e.session_id, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn, e.payload,
                                 e.created_at) order by e.seq), '[]')
            from (
                select * from public.rejoinder_events l
                where l.session_id = $1 and l.seq > $2 order by l.seq limit greatest($3, 0)
            ) e
        )
    )
$$;
