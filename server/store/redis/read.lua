-- What the Redis store reads. ARGV[1] and the answer are MessagePack, the keys are those of store.lua.

local request = cmsgpack.unpack(ARGV[1])
local prefix = request[2] .. '2:'

local SNAPSHOT = {'workflow', 'state', 'memory', 'version', 'seq', 'cursor', 'lined', 'visible', 'card', 'created_at',
                  'updated_at'}
local SUMMARY = {'workflow', 'state', 'seq', 'created_at', 'updated_at'}

local function key(name, id)
  return prefix .. name .. ':' .. id
end

-- What stands for a session in a key: its owner, in which `%` and `:` are escaped, then `:` and its id.
local function talk_of(user_id, id)
  return (string.gsub(user_id, '[%%:]', {['%'] = '%25', [':'] = '%3A'})) .. ':' .. id
end

local function whole(number)
  return string.format('%.0f', number)
end

-- At most `limit` events with `seq > after`: a log has no gap, so they stand at `after` and behind.
local function page(talk, after, limit)
  if limit < 1 then return {} end
  return redis.call('LRANGE', key('log', talk), whole(after), whole(after + limit - 1))
end

local function read(user_id, id, after, limit)
  local talk = talk_of(user_id, id)
  return redis.call('EXISTS', key('session', talk)) == 1 and page(talk, after, limit) or {}
end

-- In a list, the snapshot, the page, and what came after the last line that was answered; an empty one for no session.
local function load(user_id, id, after, limit)
  local talk = talk_of(user_id, id)
  if redis.call('EXISTS', key('session', talk)) == 0 then return {} end
  local snapshot = redis.call('HMGET', key('session', talk), unpack(SNAPSHOT))
  local cursor, lined = tonumber(snapshot[6] or 0), tonumber(snapshot[7] or 0)
  return {{snapshot, page(talk, after, limit), page(talk, cursor, lined - cursor)}}
end

-- The event in a list, or an empty one.
local function find(user_id, id, client_id)
  local talk = talk_of(user_id, id)
  local seq = redis.call('HGET', key('clients', talk), client_id)
  return seq and page(talk, seq - 1, 1) or {}
end

-- In a list, the session's id and the event of a frame that can be a published page; an empty one for none.
local function published(message_id)
  local seq, talk, id = string.match(redis.call('GET', key('deck', message_id)) or '', '^(%d+):([^:]*:(.*))$')
  local event = seq and redis.call('LINDEX', key('log', talk), whole(seq - 1))
  return event and {{id, event}} or {}
end

local function pending(before_ms, limit)
  local found = {}
  local waiting = redis.call('ZRANGEBYSCORE', prefix .. 'waiting', '-inf', whole(before_ms), 'LIMIT', 0, whole(limit))
  for _, talk in ipairs(waiting) do
    local user_id = redis.call('HGET', key('session', talk), 'user_id')
    if user_id then table.insert(found, {user_id, string.match(talk, ':(.*)$')}) end
  end
  return found
end

local function list(user_id, limit)
  local found = {}
  if limit < 1 then return found end
  for _, id in ipairs(redis.call('ZREVRANGE', key('user', user_id), 0, whole(limit - 1))) do
    local session = key('session', talk_of(user_id, id))
    if redis.call('EXISTS', session) == 1 then
      table.insert(found, {id, redis.call('HMGET', session, unpack(SUMMARY))})
    end
  end
  return found
end

local function heads(asked)
  local found = {}
  for place, one in ipairs(asked) do
    found[place] = tonumber(redis.call('HGET', key('session', talk_of(one[1], one[2])), 'seq') or 0) or 0
  end
  return found
end

local operations = {load = load, read = read, find = find, published = published, pending = pending, list = list,
                    heads = heads}
return cmsgpack.pack(operations[request[1]](unpack(request, 3)))
