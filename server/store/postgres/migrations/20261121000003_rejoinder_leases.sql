-- Leases: who is at work on a session. Rows are locked in the order of the ids, so that two who ask for the same
-- sessions in opposite orders cannot wait for each other.

-- Take or renew the leases of [[session_id, user_id], …] for `who`: whether each is its now, in the order asked. A
-- lease can be had that is free, over, or one's own.
create or replace function public.rejoinder_hold_v1(sessions jsonb, who text, ttl_ms bigint) returns json
language plpgsql security invoker set search_path = '' set lock_timeout = '5s' as $$
declare
    answers json;
begin
    with asked as (
        select a.value ->> 0 as session_id, a.value ->> 1 as user_id, a.place
        from jsonb_array_elements(sessions) with ordinality as a (value, place)
    ), taken as (
        insert into public.rejoinder_leases as l (session_id, user_id, holder, until)
        select w.session_id, w.user_id, who, clock_timestamp() + ttl_ms * interval '1 ms'
        from (select distinct a.session_id, a.user_id from asked a) w
        order by w.session_id collate "C", w.user_id collate "C"
        on conflict (session_id, user_id) do update set holder = excluded.holder, until = excluded.until
            where l.holder = excluded.holder or l.until <= clock_timestamp()
        returning l.session_id, l.user_id
    )
    select coalesce(json_agg(t.session_id is not null order by a.place), '[]') into answers
    from asked a left join taken t on t.session_id = a.session_id and t.user_id = a.user_id;

    -- What processes left that are no more. Last, and waiting for nobody: it takes locks in another order.
    delete from public.rejoinder_leases l
    where l.ctid = any (array(
        select e.ctid from public.rejoinder_leases e
        where e.until <= clock_timestamp() limit 100 for update skip locked
    ));
    return answers;
end
$$;

-- End the leases of [[session_id, user_id], …] that are `who`'s: how many were.
create or replace function public.rejoinder_release_v1(sessions jsonb, who text) returns json
language plpgsql security invoker set search_path = '' set lock_timeout = '5s' as $$
declare
    ended bigint;
begin
    delete from public.rejoinder_leases l
    where (l.session_id, l.user_id) in (
        select h.session_id, h.user_id
        from jsonb_array_elements(sessions) a
        join public.rejoinder_leases h on h.session_id = a.value ->> 0 and h.user_id = a.value ->> 1
        where h.holder = who
        order by h.session_id, h.user_id for update of h
    );
    get diagnostics ended = row_count;
    return to_json(ended);
end
$$;
