-- Every attribute at one moment. KEYS: memory, then the content of each container that the caller
-- knows of. Answers the fields, then the type and the elements of each of those contents in turn;
-- the caller sees from the fields whether there is a container that it did not name, and asks again.
local call = redis.call
local reply = {{}}
local fields = call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 1) ~= '_' then
    reply[1][#reply[1] + 1] = fields[i]
    reply[1][#reply[1] + 1] = fields[i + 1]
  end
end
for i = 2, #KEYS do
  local kind = call('TYPE', KEYS[i]).ok
  if kind == 'list' then
    reply[i] = {kind, call('LRANGE', KEYS[i], 0, -1)}
  elseif kind == 'hash' then
    reply[i] = {kind, call('HGETALL', KEYS[i])}
  else
    reply[i] = {kind, {}}
  end
end
return reply
