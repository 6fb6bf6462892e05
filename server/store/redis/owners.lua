-- Who has a session, or a log, of an id: one page of a walk through the keys, which are those of store.lua.
-- ARGV[1] is MessagePack: {prefix, id, cursor, how many keys to look at}. The answer: {schema, next cursor,
-- {user_id, ...}}; the walk is over when the cursor is 0. An owner may come more than once.

local base, id, cursor, count = unpack(cmsgpack.unpack(ARGV[1]))

-- To the letter in a pattern.
local function literal(text)
  return (string.gsub(text, '[%*%?%[%]%^\\]', '\\%0'))
end

local found = {}
local page = redis.call('SCAN', cursor, 'MATCH', literal(base) .. '2:*:' .. literal(id), 'COUNT', count)
for _, name in ipairs(page[2]) do
  local kind, owner, rest = string.match(string.sub(name, #base + 3), '^(%a+):([^:]*):(.*)$')
  if rest == id and (kind == 'session' or kind == 'log') then
    table.insert(found, (string.gsub(owner, '%%(%x%x)', {['25'] = '%', ['3A'] = ':'})))
  end
end
return cmsgpack.pack({redis.call('GET', base .. 'schema'), page[1], found})
