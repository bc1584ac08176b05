-- The head of every script that changes something: who changes, under which number, and whether
-- that change is new. KEYS: memory, content. ARGV: writer, name, number, ...
-- Whatever follows stores the number before it has any effect, so that a refusal by the server
-- (out of memory, read-only) leaves nothing half done.
local call, match, format = redis.call, string.match, string.format
local memory, content = KEYS[1], KEYS[2]
local writer, name, number = ARGV[1], ARGV[2], ARGV[3]

local stored = call('HMGET', memory, writer, '_version', name)
local entry, field = stored[1], stored[3]
local last = entry and tonumber(match(entry, '^%d+')) or 0
if tonumber(number) ~= last + 1 then
  if tonumber(number) > last then return {number, 'gap', format('%.0f', last)} end
  local same, status, result = match(entry, '^(%d+) %d+ (%l+) (.*)$')
  if same ~= number then return {number, 'duplicate', 'old', ''} end
  return {number, 'duplicate', status, result}
end

local time = call('TIME')
local now = time[1] .. string.sub('00000' .. time[2], -6)
-- Versions begin at the time: where a memory was lost and begun anew, no version comes twice, so that
-- nobody takes what he has seen before for a state of the new one.
local version = (stored[2] or now) + 1
if not entry and call('HLEN', memory) > 64 then
  -- a writer must outlive the oldest queue that may be replayed: only those idle for 7 days go
  local fields = call('HGETALL', memory)
  for i = 1, #fields, 2 do
    local seen = match(fields[i], '^_w') and match(fields[i + 1], '^%d+ (%d+) ')
    if seen and tonumber(seen) < time[1] - 604800 then call('HDEL', memory, fields[i]) end
  end
end
