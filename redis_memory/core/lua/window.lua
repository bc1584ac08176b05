-- A part of a list. KEYS: memory, content. ARGV: name, first, last (as LRANGE counts).
local field = redis.call('HGET', KEYS[1], ARGV[1])
if not field then return false end
if string.sub(field, 1, 1) ~= 'l' then return {field} end
local size = string.match(field, ' (%d+);$')
if redis.pcall('LLEN', KEYS[2]) ~= tonumber(size) then return {field, 'damaged'} end
return {field, redis.call('LRANGE', KEYS[2], ARGV[2], ARGV[3])}
