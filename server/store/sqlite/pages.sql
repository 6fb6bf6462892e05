-- A published page is the event that it was made from: a frame of a workflow's own, found by its message id. The index of
-- the first such frames, events_decks, stays for the servers that look there.
create index if not exists events_own on events (message_id)
    where role = 'assistant' and type not in ('action_request', 'chat_message');
