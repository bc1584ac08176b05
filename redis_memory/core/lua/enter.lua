-- Enter a conversation in the directory, or move its entry, now. KEYS: index, expiring. ARGV: the id as it
-- stands in keys, and the milliseconds of its lifetime, 0 for none, '' where that is not known. Answers the score.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('ZADD', KEYS[1], 'GT', now, ARGV[1])
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[2], ARGV[1])
elseif ARGV[2] ~= '' then
  local ends = time[1] * 1000000 + time[2] + tonumber(ARGV[2]) * 1000
  redis.call('ZADD', KEYS[2], string.format('%.0f', ends), ARGV[1])
end
return now
