-- One attribute for a reader who knows its state of `known` ('' when of none).
-- KEYS: memory, content. ARGV: name, known descriptor.
-- Answers 'same', {field} for a scalar, {field, 'tail' or 'whole', elements}, and when there is none
-- {'', version of the memory}: who knew a state newer than that has found data lost.
local field, known = redis.call('HGET', KEYS[1], ARGV[1]), ARGV[2]
if not field then return {'', redis.call('HGET', KEYS[1], '_version') or ''} end
if known ~= '' and (field == known or string.sub(field, 1, #known) == known) then return 'same' end

local kind = string.sub(field, 1, 1)
if kind == 'l' then
  local base, size = string.match(field, '^l%x+ (%x+) %x+ %x+ (%d+);$')
  local same, length = string.match(known, '^l%x+ (%x+) %x+ %x+ (%d+);')
  -- `pcall` answers with a table when another type of key lies there
  if redis.pcall('LLEN', KEYS[2]) ~= tonumber(size) then return {field, 'damaged', {}} end
  if same == base then
    return {field, 'tail', redis.call('LRANGE', KEYS[2], length, -1)}
  end
  return {field, 'whole', redis.call('LRANGE', KEYS[2], 0, -1)}
end
if kind == 'd' or kind == 'e' then
  local size = string.match(field, '^%l%x+ %x+ %x+ %x+ (%d+);$')
  local elements = redis.pcall('HGETALL', KEYS[2])
  if elements.err or #elements ~= 2 * (tonumber(size) or -1) then return {field, 'damaged', {}} end
  return {field, 'whole', elements}
end
return {field}
