-- Put all values of a memory under another key, if it is still as it was read. No version moves: what others
-- know of it stays right. KEYS: memory, stamps, the contents of its containers. ARGV: the version that was
-- seen; the key that it is under, '' for none; the new key; how many notes in stamps, those as pairs (old
-- field, new field); then for each attribute its name, its field, how many elements, those. Where others were
-- faster, changes are held off for a second, and the caller reads again.
local call, match = redis.call, string.match
local memory, stamps = KEYS[1], KEYS[2]
local stored = call('HMGET', memory, '_version', '_sealed', '_until')
local under, time = match(stored[2] or '', '^%x*'), call('TIME')
local now = time[1] * 1000000 + time[2]
if under ~= ARGV[2] then return 'active' end
if stored[1] ~= ARGV[1] then
  if under ~= '' then call('HSET', memory, '_sealed', under .. string.format('!%013x', now + 1000000)) end
  return 'active'
end
local ends, contents = stored[3], 2
-- before anything else, so that a refusal by the server leaves nothing half done
call('HSET', memory, '_sealed', ARGV[3])

local i = 5
for k = 1, tonumber(ARGV[4]) do
  local note = call('HGET', stamps, ARGV[i])
  if note then
    call('HDEL', stamps, ARGV[i])
    call('HSET', stamps, ARGV[i + 1], note)
  end
  i = i + 2
end
while i <= #ARGV do
  local name, field, count = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local content, from, to = memory .. ':' .. name, i + 3, i + 2 + count
  call('HSET', memory, name, field)
  if match(field, '^[lde]') then
    call('DEL', content)
    -- unpack fails beyond 8,000 items
    for k = from, to, 7000 do
      call(match(field, '^l') and 'RPUSH' or 'HSET', content, unpack(ARGV, k, math.min(k + 6999, to)))
    end
    if ends then call('PEXPIREAT', content, ends) end
  end
  i = to + 1
end

-- What a writer took last, or was told, is still under the old key; nobody asks for it again after an hour.
local fields = call('HGETALL', memory)
for k = 1, #fields, 2 do
  if string.sub(fields[k], 1, 2) == '_w' then
    local number, made, result = match(fields[k + 1], '^(%d+) (%x+) %l+ (.*)$')
    if result and string.find(result, '\193', 1, true) and tonumber(made, 16) < now - 3600000000 then
      call('HSET', memory, fields[k], number .. ' ' .. made .. ' cleared ')
    end
  end
end
return 'ok'
