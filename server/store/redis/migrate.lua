-- From layout 1, whose keys have the id of a session alone, to layout 2: store.lua says what that is.
--
-- ARGV[1] is MessagePack: {operation, prefix, ...}; the answer, too. Every call is a transaction, and can be made
-- again: what was moved is not found any more.

local request = cmsgpack.unpack(ARGV[1])
local old = request[2]
local new = old .. '2:'
local TO = '-2'

local function is(kind, name)
  local found = redis.call('TYPE', name).ok
  return found == 'none' or found == kind
end

-- Shut servers of layout 1 out: each commit of theirs wants a sorted set there. Each session tells whether it waits.
-- Every command that is not yet tried at the start of a server is tried first.
local function begin()
  redis.call('SCAN', 0, 'COUNT', 1)
  redis.call('SET', new .. 'probe:old', '')
  redis.call('RENAME', new .. 'probe:old', new .. 'probe:new')
  redis.call('UNLINK', new .. 'probe:new')
  if redis.call('GET', old .. 'schema') == '1' then
    redis.call('SET', old .. 'waiting', 'moved to layout 2')
    redis.call('SET', old .. 'schema', TO)
  end
  return cmsgpack.pack(true)
end

-- Whether the session could be moved: it is as a server leaves it.
local function move(id)
  local session, decks = old .. 'session:' .. id, old .. 'decks:' .. id
  if not is('hash', session) or not is('set', decks) then return false end
  local user_id, updated_at, cursor, lined = unpack(redis.call('HMGET', session, 'user_id', 'updated_at', 'cursor',
                                                               'lined'))
  if not (user_id and tonumber(updated_at) and tonumber(cursor) and tonumber(lined)) then return false end
  local talk = (string.gsub(user_id, '[%%:]', {['%'] = '%25', [':'] = '%3A'})) .. ':' .. id
  local user, waiting = new .. 'user:' .. user_id, new .. 'waiting'
  if redis.call('EXISTS', new .. 'session:' .. talk, new .. 'log:' .. talk) > 0 then return false end
  if not (is('zset', user) and is('zset', waiting) and is('zset', old .. 'user:' .. user_id)) then return false end

  for _, deck in ipairs(redis.call('SMEMBERS', decks)) do
    local name = old .. 'deck:' .. deck
    local seq, of = string.match(is('string', name) and redis.call('GET', name) or '', '^(%d+):(.*)$')
    if of == id then
      redis.call('SET', new .. 'deck:' .. deck, seq .. ':' .. talk)
      redis.call('UNLINK', name)
    end
  end
  redis.call('ZADD', user, updated_at, id)
  redis.call('ZREM', old .. 'user:' .. user_id, id)
  if tonumber(lined) > tonumber(cursor) then redis.call('ZADD', waiting, updated_at, talk) end
  for _, name in ipairs({'log:', 'clients:', 'decks:', 'session:'}) do
    local before = old .. name .. id
    if redis.call('EXISTS', before) == 1 then redis.call('RENAME', before, new .. name .. talk) end
  end
  return true
end

-- One page of a walk through the keys: {next cursor, how many sessions were moved, how many cannot be}.
local function page(cursor, count)
  local pattern = (string.gsub(old, '[%*%?%[%]%^\\]', '\\%0')) .. 'session:*'
  local seen = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', count)
  local moved, left = 0, 0
  for _, name in ipairs(seen[2]) do
    if redis.call('EXISTS', name) == 1 then -- a walk may name a key twice
      if move(string.sub(name, #old + #'session:' + 1)) then moved = moved + 1 else left = left + 1 end
    end
  end
  return cmsgpack.pack({seen[1], moved, left})
end

local function finish()
  if redis.call('GET', old .. 'schema') == TO then redis.call('SET', old .. 'schema', '2') end
  return cmsgpack.pack(true)
end

local operations = {begin = begin, page = page, finish = finish}
return operations[request[1]](unpack(request, 3))
