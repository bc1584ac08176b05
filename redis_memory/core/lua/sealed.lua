-- Before a change that carries encrypted values: all of a memory is under one key, so that equal values
-- have equal bytes. `_sealed` names it. A memory without attributes is put under the caller's.
local sealed = redis.call('HMGET', KEYS[1], '_sealed', '_created', '_version')
if sealed[1] ~= 'KEY_ID' then
  if sealed[2] then return {'sealed', sealed[1] or ''} end
  redis.call('HSET', KEYS[1], '_sealed', 'KEY_ID')
  if not sealed[3] then redis.call('EXPIRE', KEYS[1], 604800) end
end
