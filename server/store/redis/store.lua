-- What the Redis store writes: a batch of writes, the end of a session, the first look at open.
--
-- ARGV[1] is MessagePack: {operation, prefix, ...}. So is the answer. JSON texts pass through as they came: Lua's own
-- JSON would lose whole numbers beyond 2^53, the difference between [] and {}, and the last digits of a float.
--
-- Redis does not roll a script back: what it wrote before an error stays. So every operation first looks at all that it
-- will touch, and writes when nothing can be in its way any more. A server that is full, read-only or cut off from its
-- disk says so at the first write of a script, never later; what a user may do and not do is tried at open.
--
-- The keys (they are not declared: the store takes one server, no cluster). Behind the prefix:
--   schema   string  the version of the layout; -2 while it is brought to version 2 (migrate.lua)
--   waiting  string  closes the door to servers of layout 1, which want a sorted set there
-- and behind the prefix and `2:`, where <talk> is <owner>:<id> as `talk_of` makes it:
--   session:<talk>     hash    the columns of the snapshot
--   log:<talk>         list    the events, `seq` at seq - 1: [seq, created_at, turn, type, ...] as JSON
--   clients:<talk>     hash    client id -> seq
--   decks:<talk>       set     message ids of the session's frames that can be published pages (decks were the first)
--   deck:<message id>  string  <seq>:<talk> of the frame with this message id
--   user:<user id>     sorted set of session ids by updated_at
--   waiting            sorted set of the talks that wait for an answer, by updated_at
--   lease:<talk>       string  who is at work on the session; it ends by itself

local request = cmsgpack.unpack(ARGV[1])
local base, prefix = request[2], request[2] .. '2:'

local KINDS = {session = 'hash', log = 'list', clients = 'hash', decks = 'set'}
local NUMBERS = {'version', 'seq', 'cursor', 'lined', 'visible', 'created_at', 'updated_at'}

local function key(name, id)
  return prefix .. name .. ':' .. id
end

-- What stands for a session in a key: its owner, in which `%` and `:` are escaped, then `:` and its id.
local function talk_of(user_id, id)
  return (string.gsub(user_id, '[%%:]', {['%'] = '%25', [':'] = '%3A'})) .. ':' .. id
end

local waiting = prefix .. 'waiting'

-- A whole number as text; Lua's own way would write the large ones as 1.7e+12.
local function whole(number)
  return string.format('%.0f', number)
end

-- Whether the key is free or ours to use as such.
local function is(kind, name)
  local found = redis.call('TYPE', name).ok
  return found == 'none' or found == kind
end

-- Whether every key of the session is.
local function is_ours(talk)
  for name, kind in pairs(KINDS) do
    if not is(kind, key(name, talk)) then return false end
  end
  return true
end

-- ------------------------------------------------------------ commit

local sessions = {} -- by talk: as they are stored, then as the writes so far leave them
local owners = {}   -- by user id: whether the list of their sessions can be written

-- The session, `is_new` when there is none, with a `code` when what is there cannot be ours.
local function look(id, user_id)
  local talk = talk_of(user_id, id)
  local session = {id = id, user_id = user_id, talk = talk, events = {}, clients = {}, decks = {}, is_new = false}
  if not is_ours(talk) then
    session.code = 'WRONGTYPE'
    return session
  end
  session.stored = redis.call('LLEN', key('log', talk))
  local numbers = redis.call('HMGET', key('session', talk), unpack(NUMBERS))
  for place, name in ipairs(NUMBERS) do
    session[name] = tonumber(numbers[place] or 0)
    if session[name] == nil then session.code = 'DAMAGED' end
  end
  session.is_new = redis.call('HGET', key('session', talk), 'user_id') ~= user_id
  local is_stale = session.is_new and redis.call('EXISTS', key('session', talk), key('clients', talk)) > 0
  if is_stale or session.seq ~= session.stored then session.code = 'DAMAGED' end
  return session
end

local function event_at(session, seq)
  if seq > session.stored then return session.events[seq - session.stored] end
  return redis.call('LINDEX', key('log', session.talk), whole(seq - 1))
end

local function append(session, events, visible, update)
  local seq, updated_at = session.seq, session.updated_at
  for _, event in ipairs(events) do
    local created_at, turn, is_line, client_id, deck, text = unpack(event)
    session.seq = session.seq + 1
    session.updated_at = math.max(created_at, session.updated_at + 1)
    if session.created_at == 0 then session.created_at = session.updated_at end
    if is_line then
      turn = session.seq
      session.lined = session.seq
    end
    local numbers = {whole(session.seq), whole(session.updated_at), whole(turn)}
    table.insert(session.events, '[' .. table.concat(numbers, ',') .. ',' .. text)
    if client_id then session.clients[client_id] = session.seq end
    if deck then session.decks[deck] = session.seq end
  end
  session.visible = session.visible + visible
  if update then
    session.version = session.version + 1
    session.workflow, session.state, session.cursor, session.card = update[1], update[2], update[3], update[4]
    session.memory = update[5] or session.memory
    session.is_moved = true
  end
  return {'committed', session.version, seq, updated_at}
end

-- The outcome of the next write; the same rules in the same order as in server/store/batch.py.
local function apply(write)
  local id, user_id, client_id, expected, visible, events, update = unpack(write)
  local talk = talk_of(user_id, id)
  if not sessions[talk] then sessions[talk] = look(id, user_id) end
  local session = sessions[talk]
  if session.code then return {'failed', session.code} end
  if session.is_new and expected ~= 0 then return {'missing'} end
  if owners[user_id] == nil then owners[user_id] = is('zset', key('user', user_id)) end
  if not owners[user_id] then return {'failed', 'WRONGTYPE'} end
  if session.is_new then
    session.is_new, session.memory, session.is_moved = false, '{}', true
  elseif client_id then
    local seq = session.clients[client_id] or tonumber(redis.call('HGET', key('clients', talk), client_id) or nil)
    local event = seq and event_at(session, seq)
    if event then return {'duplicate', event} end
    if seq then return {'failed', 'DAMAGED'} end
  end
  if expected and expected ~= session.version then return {'conflict', session.version} end
  -- A turn that brings its own line along names the seq that the line must get.
  if update and events[1][3] and update[3] ~= session.seq + 1 then return {'conflict', session.version} end
  return append(session, events, visible, update)
end

local function store(session)
  local talk = session.talk
  for _, event in ipairs(session.events) do
    redis.call('RPUSH', key('log', talk), event)
  end
  for client_id, seq in pairs(session.clients) do
    redis.call('HSET', key('clients', talk), client_id, whole(seq))
  end
  for deck, seq in pairs(session.decks) do
    redis.call('SET', key('deck', deck), whole(seq) .. ':' .. talk, 'NX')
    redis.call('SADD', key('decks', talk), deck)
  end
  local fields = {'user_id', session.user_id}
  for _, name in ipairs(NUMBERS) do
    table.insert(fields, name)
    table.insert(fields, whole(session[name]))
  end
  for _, name in ipairs({'workflow', 'state', 'card', 'memory'}) do
    if session[name] then
      table.insert(fields, name)
      table.insert(fields, session[name])
    end
  end
  redis.call('HSET', key('session', talk), unpack(fields))
  if session.is_moved and not session.card then redis.call('HDEL', key('session', talk), 'card') end
  redis.call('ZADD', key('user', session.user_id), whole(session.updated_at), session.id)
  if session.lined > session.cursor then
    redis.call('ZADD', waiting, whole(session.updated_at), talk)
  else
    redis.call('ZREM', waiting, talk)
  end
end

local function commit(writes)
  if not is('zset', waiting) then return redis.error_reply('WRONGTYPE of ' .. waiting) end
  local outcomes = {}
  for place, write in ipairs(writes) do
    outcomes[place] = apply(write)
  end
  for _, session in pairs(sessions) do
    if #session.events > 0 then store(session) end
  end
  return cmsgpack.pack(outcomes)
end

-- ------------------------------------------------------------ delete, open

local function delete(user_id, id)
  local talk = talk_of(user_id, id)
  if not (is_ours(talk) and is('zset', waiting) and is('zset', key('user', user_id))) then
    return redis.error_reply('WRONGTYPE of a key of this session')
  end
  if redis.call('HGET', key('session', talk), 'user_id') ~= user_id then return cmsgpack.pack(false) end
  for _, deck in ipairs(redis.call('SMEMBERS', key('decks', talk))) do
    local name = key('deck', deck)
    if is('string', name) and string.match(redis.call('GET', name) or '', '^%d+:(.*)$') == talk then
      redis.call('UNLINK', name)
    end
  end
  for name in pairs(KINDS) do
    redis.call('UNLINK', key(name, talk))
  end
  redis.call('ZREM', key('user', user_id), id)
  redis.call('ZREM', waiting, talk)
  return cmsgpack.pack(true)
end

-- ------------------------------------------------------------ leases

local function lease(session)
  return key('lease', talk_of(session[1], session[2]))
end

-- Whether each lease is the holder's now: it was free, over, or the holder's before.
local function hold(wanted, holder, ttl_ms)
  local held = {}
  for place, session in ipairs(wanted) do
    local before = redis.call('GET', lease(session))
    held[place] = not before or before == holder
    if held[place] then redis.call('SET', lease(session), holder, 'PX', whole(ttl_ms)) end
  end
  return cmsgpack.pack(held)
end

local function release(wanted, holder)
  for _, session in ipairs(wanted) do
    if redis.call('GET', lease(session)) == holder then redis.call('UNLINK', lease(session)) end
  end
  return cmsgpack.pack(true)
end

-- The version of the layout that is there, or none. Every command above is tried: a user that may not use one of them
-- would leave half a batch behind.
local function open(schema)
  local found = tonumber(redis.call('GET', base .. 'schema') or schema)
  if found ~= schema then return cmsgpack.pack(found or 0) end
  local function probe(name)
    return key('probe', name)
  end
  redis.call('RPUSH', probe('list'), '')
  redis.call('LLEN', probe('list'))
  redis.call('LINDEX', probe('list'), 0)
  redis.call('LRANGE', probe('list'), 0, 0)
  redis.call('HSET', probe('hash'), '', '')
  redis.call('HGET', probe('hash'), '')
  redis.call('HMGET', probe('hash'), '')
  redis.call('HDEL', probe('hash'), '')
  redis.call('SADD', probe('set'), '')
  redis.call('SMEMBERS', probe('set'))
  redis.call('ZADD', probe('zset'), 0, '')
  redis.call('ZRANGEBYSCORE', probe('zset'), 0, 0)
  redis.call('ZREVRANGE', probe('zset'), 0, 0)
  redis.call('ZREM', probe('zset'), '')
  redis.call('SET', base .. 'schema', whole(schema), 'NX')
  redis.call('TYPE', probe('list'))
  redis.call('EXISTS', probe('list'))
  redis.call('UNLINK', probe('list'), probe('set'))
  return cmsgpack.pack(found)
end

local operations = {commit = commit, delete = delete, hold = hold, release = release, open = open}
return operations[request[1]](unpack(request, 3))
