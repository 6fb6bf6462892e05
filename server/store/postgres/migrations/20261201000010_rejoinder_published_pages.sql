-- Published pages: an event that a workflow publishes is found by its message id and its type, whatever the type.
-- rejoinder_deck_v1 and its index rejoinder_events_decks stay for the servers of schema 1.

-- The frames that are a workflow's own: all that its assistant says, but for what every workflow says.
create index if not exists rejoinder_events_own on public.rejoinder_events (message_id)
    where role = 'assistant' and type not in ('action_request', 'chat_message');

-- null, or the workflow's own frame of this message id and type, whoever owns it: the address of a page is a capability.
create or replace function public.rejoinder_published_v1(message text, kind text) returns json
language sql stable security invoker set search_path = '' as $$
    select json_build_array(e.session_id, e.seq, e.type, e.role, e.message_id, e.client_id, e.turn, e.payload,
                            e.created_at)
    from public.rejoinder_events e
    where e.message_id = $1 and e.type = $2
        and e.role = 'assistant' and e.type not in ('action_request', 'chat_message')
    order by e.session_id, e.seq limit 1
$$;

create or replace function public.rejoinder_schema_v1() returns json
language sql stable security invoker set search_path = '' as $$
    select json_build_object('version', 2, 'compatible_from', 1)
$$;

-- As in rejoinder_access: a new function may be called by everybody, until that is taken away.
do $$
declare
    name text;
begin
    revoke execute on function public.rejoinder_published_v1(text, text) from public;
    foreach name in array array['anon', 'authenticated'] loop
        if to_regrole(name) is not null then
            execute format('revoke execute on function public.rejoinder_published_v1(text, text) from %I', name);
        end if;
    end loop;
    if to_regrole('service_role') is not null then
        grant execute on function public.rejoinder_published_v1(text, text) to service_role;
    end if;
end
$$;

notify pgrst, 'reload schema';
