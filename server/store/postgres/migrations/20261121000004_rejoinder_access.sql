-- What this schema is, and the oldest server that it still serves: a server of schema n starts when
-- compatible_from <= n <= version. It stands in the last file: a database that has only some of them is no schema yet.
create or replace function public.rejoinder_schema_v1() returns json
language sql stable security invoker set search_path = '' as $$
    select json_build_object('version', 1, 'compatible_from', 1)
$$;

-- Who may do what. The server works as the tables' owner, or as service_role through Supabase's API. Signed-in users
-- may read their own rows there, and nobody else anything. Plain PostgreSQL has none of these roles: then only PUBLIC
-- loses the right to call.
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

    foreach name in array array['anon', 'authenticated'] loop
        if to_regrole(name) is not null then
            execute format(
                'revoke all on public.rejoinder_sessions, public.rejoinder_events, public.rejoinder_leases,'
                ' public.rejoinder_migrations from %I', name
            );
        end if;
    end loop;
    if to_regrole('service_role') is not null then
        grant select, insert, update, delete
            on public.rejoinder_sessions, public.rejoinder_events, public.rejoinder_leases to service_role;
    end if;

    -- `sub` as text, for the ids of users need not be UUIDs; from the claims that PostgREST sets for every request,
    -- which are '' and not null after one. The sub-select runs once a statement, not once a row.
    if to_regrole('authenticated') is not null then
        grant select on public.rejoinder_sessions, public.rejoinder_events to authenticated;
        drop policy if exists rejoinder_sessions_of_their_owner on public.rejoinder_sessions;
        create policy rejoinder_sessions_of_their_owner on public.rejoinder_sessions for select to authenticated
            using (user_id = (select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'));
        drop policy if exists rejoinder_events_of_their_owner on public.rejoinder_events;
        create policy rejoinder_events_of_their_owner on public.rejoinder_events for select to authenticated
            using (exists (
                select from public.rejoinder_sessions s
                where s.session_id = rejoinder_events.session_id
                    and s.user_id = (select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub')
            ));
    end if;
end
$$;

notify pgrst, 'reload schema';
