-- What the Redis store reads. ARGV[1] and the answer are MessagePack, the keys are those of redis.lua.
-- A script is one moment, so the owner is looked at in the same moment as what is theirs.

local request = cmsgpack.unpack(ARGV[1])
local prefix = request[2]

local SNAPSHOT = {'workflow', 'state', 'memory', 'version', 'seq', 'cursor', 'lined', 'visible', 'card', 'created_at',
                  'updated_at'}
local SUMMARY = {'workflow', 'state', 'seq', 'created_at', 'updated_at'}

local function key(name, id)
  return prefix .. name .. ':' .. id
end

local function whole(number)
  return string.format('%.0f', number)
end

local function owned(id, user_id)
  return redis.call('HGET', key('session', id), 'user_id') == user_id
end

-- At most `limit` events with `seq > after`: a log has no gap, so they stand at `after` and behind.
local function page(id, after, limit)
  if limit < 1 then return {} end
  return redis.call('LRANGE', key('log', id), whole(after), whole(after + limit - 1))
end

local function read(id, user_id, after, limit)
  return owned(id, user_id) and page(id, after, limit) or {}
end

-- In a list, the snapshot, the page, and what came after the last line that was answered; an empty one for no session.
local function load(id, user_id, after, limit)
  if not owned(id, user_id) then return {} end
  local snapshot = redis.call('HMGET', key('session', id), unpack(SNAPSHOT))
  local cursor, lined = tonumber(snapshot[6] or 0), tonumber(snapshot[7] or 0)
  return {{snapshot, page(id, after, limit), page(id, cursor, lined - cursor)}}
end

-- The event in a list, or an empty one.
local function find(id, user_id, client_id)
  local seq = owned(id, user_id) and redis.call('HGET', key('clients', id), client_id)
  return seq and page(id, seq - 1, 1) or {}
end

-- In a list, the session and the event of a frame that can be a published page; an empty one for none.
local function published(message_id)
  local seq, id = string.match(redis.call('GET', key('deck', message_id)) or '', '^(%d+):(.*)$')
  local event = seq and redis.call('LINDEX', key('log', id), whole(seq - 1))
  return event and {{id, event}} or {}
end

local function pending(before_ms, limit)
  local found = {}
  local waiting = redis.call('ZRANGEBYSCORE', prefix .. 'waiting', '-inf', whole(before_ms), 'LIMIT', 0, whole(limit))
  for _, id in ipairs(waiting) do
    local user_id = redis.call('HGET', key('session', id), 'user_id')
    if user_id then table.insert(found, {id, user_id}) end
  end
  return found
end

local function list(user_id, limit)
  local found = {}
  if limit < 1 then return found end
  for _, id in ipairs(redis.call('ZREVRANGE', key('user', user_id), 0, whole(limit - 1))) do
    if owned(id, user_id) then table.insert(found, {id, redis.call('HMGET', key('session', id), unpack(SUMMARY))}) end
  end
  return found
end

local function heads(asked)
  local found = {}
  for place, one in ipairs(asked) do
    found[place] = owned(one[1], one[2]) and tonumber(redis.call('HGET', key('session', one[1]), 'seq')) or 0
  end
  return found
end

local operations = {load = load, read = read, find = find, published = published, pending = pending, list = list,
                    heads = heads}
return cmsgpack.pack(operations[request[1]](unpack(request, 3)))
