-- The head of every script that changes something: who changes, under which number, and whether
-- that change is new. KEYS: memory, content. ARGV: writer, name, number, ...
-- Whatever follows stores the number before it has any effect, so that a refusal by the server
-- (out of memory, read-only) leaves nothing half done.
local call, match, format = redis.call, string.match, string.format
local memory, content = KEYS[1], KEYS[2]
local writer, name, number = ARGV[1], ARGV[2], ARGV[3]

local stored = call('HMGET', memory, writer, '_version', name, '_until')
local entry, field = stored[1], stored[3]
-- when all keys of the memory end, if it has a lifetime; `renew.lua` moves it
local ends = stored[4]
local last = entry and match(entry, '^%d+') or 0
if number - last ~= 1 then
  if number - last > 1 then
    -- what the caller tells by whether the memory itself is older than it has seen
    local created = entry and '' or call('HGET', memory, '_created') or ''
    return {number, 'gap', format('%d', last), stored[2] or '', created}
  end
  local same, status, result = match(entry, '^(%d+) %x+ (%l+) (.*)$')
  if same ~= number then return {number, 'duplicate', 'old', ''} end
  return {number, 'duplicate', status, result}
end

if not entry then
  -- who does not have the key of an encrypted memory puts no value into it; `scripts.py` has the condition
  if LACKS_KEY and call('HEXISTS', memory, '_created') == 1 then
    return {number, 'encrypted', '', ''}
  end
  -- before any effect: a user who may not publish is refused now, and not in the middle of a change
  call('PUBLISH', memory .. '~feed', '')
end
local time = call('TIME')
-- A version is the server's time in microseconds, moved on where that would not make it the largest:
-- no version comes twice, not even in a memory that was lost and begun anew.
local version, newest = time[1] * 1000000 + time[2], stored[2] and tonumber(stored[2], 16)
if newest and newest >= version then version = newest + 1 end
if not entry and call('HLEN', memory) > 64 then
  -- a writer must outlive the oldest queue that may be replayed: only those idle for 7 days go
  local fields = call('HGETALL', memory)
  for i = 1, #fields, 2 do
    local seen = match(fields[i], '^_w') and match(fields[i + 1], '^%d+ (%x+) ')
    if seen and tonumber(seen, 16) < version - 604800000000 then call('HDEL', memory, fields[i]) end
  end
end
