-- A whole memory at one moment. KEYS: memory, then the contents of containers. Answers the fields that
-- are no writers', then the type and the elements of each of those contents.
local reply, fields = {{}}, redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 2) ~= '_w' then
    reply[1][#reply[1] + 1] = fields[i]
    reply[1][#reply[1] + 1] = fields[i + 1]
  end
end
for i = 2, #KEYS do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind == 'list' then
    reply[i] = {kind, redis.call('LRANGE', KEYS[i], 0, -1)}
  elseif kind == 'hash' then
    reply[i] = {kind, redis.call('HGETALL', KEYS[i])}
  else
    reply[i] = {kind, {}}
  end
end
return reply
