-- What an inspector reads of a session. ARGV[1] and the answer are MessagePack, the keys are those of store.lua. It
-- looks before it reads: a key of another type is said, not stumbled over.
--
-- {schema, type of session:<talk>, {user_id, the columns of the snapshot}, ms of the lease, type of log:<talk>,
--  length of the log, {at most `limit` events behind the place `after`}}; false is what is not there.

local base, user_id, id, after, limit = unpack(cmsgpack.unpack(ARGV[1]))
local prefix = base .. '2:'
local talk = (string.gsub(user_id, '[%%:]', {['%'] = '%25', [':'] = '%3A'})) .. ':' .. id

local COLUMNS = {'user_id', 'workflow', 'state', 'memory', 'version', 'seq', 'cursor', 'lined', 'visible', 'card',
                 'created_at', 'updated_at'}

local function whole(number)
  return string.format('%.0f', number)
end

local session, log = prefix .. 'session:' .. talk, prefix .. 'log:' .. talk
local session_type, log_type = redis.call('TYPE', session).ok, redis.call('TYPE', log).ok

local columns, lease_ms = {}, 0
if session_type == 'hash' then
  columns = redis.call('HMGET', session, unpack(COLUMNS))
  lease_ms = redis.call('PTTL', prefix .. 'lease:' .. talk)
end

local length, events = 0, {}
if log_type == 'list' then
  length = redis.call('LLEN', log)
  events = redis.call('LRANGE', log, whole(after), whole(after + limit - 1))
end

local schema = redis.call('GET', base .. 'schema')
return cmsgpack.pack({schema, session_type, columns, lease_ms, log_type, length, events})
