-- What a Supabase project has before anything is put into it, as far as the Data API shows it.

do $$
begin
    if to_regrole('authenticator') is null then
        create role anon nologin noinherit;
        create role authenticated nologin noinherit;
        create role service_role nologin noinherit bypassrls;
        create role authenticator login noinherit;
        grant anon, authenticated, service_role to authenticator;
        alter role anon set statement_timeout = '3s';
        alter role authenticated set statement_timeout = '8s';
        alter role authenticator set statement_timeout = '8s';
        alter role authenticator set lock_timeout = '8s';
        -- The SQL editor's role: there it is called postgres, and is no superuser either.
        create role project_owner login createrole createdb bypassrls;
    end if;
    execute format('alter database %I owner to project_owner', current_database());
end
$$;

create schema auth;
create schema extensions;
grant usage on schema public, auth, extensions to anon, authenticated, service_role, project_owner;

create function auth.jwt() returns jsonb language sql stable as $$
    select nullif(current_setting('request.jwt.claims', true), '')::jsonb
$$;

create function auth.role() returns text language sql stable as $$ select auth.jwt() ->> 'role' $$;

-- Raises for a `sub` that is no UUID.
create function auth.uid() returns uuid language sql stable as $$ select (auth.jwt() ->> 'sub')::uuid $$;
