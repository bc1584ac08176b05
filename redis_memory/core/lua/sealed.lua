-- Before a change that carries encrypted values: all of a memory is under one key, so that equal values
-- have equal bytes. `_sealed` names it, and behind a `!` until when changes are held off, in microseconds,
-- while it is put under another one. A memory without attributes is put under the caller's.
local sealed = redis.call('HMGET', KEYS[1], '_sealed', '_created', '_version')
if sealed[1] ~= 'KEY_ID' then
  local under, held_until = string.match(sealed[1] or '', '^(%x*)!?(%x*)$')
  if sealed[2] and held_until ~= '' then
    local time = redis.call('TIME')
    if time[1] * 1000000 + time[2] < tonumber(held_until, 16) then return {'sealed', under, 'held'} end
  end
  if sealed[2] and under ~= 'KEY_ID' then return {'sealed', under or ''} end
  redis.call('HSET', KEYS[1], '_sealed', 'KEY_ID')
  if not sealed[3] then redis.call('EXPIRE', KEYS[1], 604800) end
end
