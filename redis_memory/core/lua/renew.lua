-- Begin the lifetime of a memory again, if it has one: all its keys end in the same millisecond.
-- KEYS: memory, stamps, then the contents of all containers. ARGV: a lifetime. 'e<milliseconds>' is given for
-- this memory, e0 takes it away; 's<milliseconds>' is for all memories that were given none; '' for none.
-- Answers 'none'; 'ok', the milliseconds and when the memory was created, '' where it is not there; or 'undeclared' and the containers that must be named, too.
local call, sub = redis.call, string.sub
local memory, given = KEYS[1], ARGV[1]
local stored = call('HMGET', memory, '_ttl', '_created')
local ttl, is_there = stored[1], stored[2]
if sub(given, 1, 1) == 'e' or given ~= '' and (not ttl or sub(ttl, 1, 1) == 's') then ttl = given end
if not ttl or ttl == 'e0' and given ~= 'e0' then return {'none', 0} end

local undeclared = {'undeclared', 0}
declared_keys(undeclared)
if #undeclared > 2 then return undeclared end

if ttl ~= stored[1] then
  -- who waits for the end learns that there is another one
  call('PUBLISH', memory .. '~feed', '_l000000000000000000e0:0000000000000;')
end

if ttl == 'e0' then
  call('HDEL', memory, '_until', '_ttl')
  if is_there then
    call('HSET', memory, '_ttl', ttl)
    for i = 1, #KEYS do call('PERSIST', KEYS[i]) end
    call('EXPIRE', KEYS[2], 604800)
  end
  return {'none', 0}
end
local time, milliseconds = call('TIME'), tonumber(sub(ttl, 2))
local ends = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + milliseconds)
-- where there is nothing yet, the notes that keep off late changes stay as long as they would
local stays = is_there and 0 or call('PTTL', memory)
call('HSET', memory, '_ttl', ttl, '_until', ends)
if stays < milliseconds then call('PEXPIREAT', memory, ends) end
for i = 2, #KEYS do call('PEXPIREAT', KEYS[i], ends) end
return {'ok', milliseconds, is_there or ''}
