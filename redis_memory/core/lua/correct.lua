-- Correct entries of the directory by what their memories were found to hold. KEYS: index, expiring.
-- ARGV, four for each: the id as it stands in keys; up to which score its entry speaks of a time before the
-- memory was looked at; its last activity, '' where the memory is empty or gone; the end of its lifetime, ''
-- where it has none. An entry that is newer than that belongs to somebody who writes just now: it stays.
local removed, moved = 0, 0
for i = 1, #ARGV, 4 do
  local tag, limit, activity, ends = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  local score = tonumber(redis.call('ZSCORE', KEYS[1], tag) or nil)
  if activity == '' then
    if score and score <= limit then removed = removed + redis.call('ZREM', KEYS[1], tag) end
    if not score or score <= limit then redis.call('ZREM', KEYS[2], tag) end
  else
    if not score or score <= limit and score ~= tonumber(activity) or score < tonumber(activity) then
      redis.call('ZADD', KEYS[1], activity, tag)
      moved = moved + 1
    end
    if ends == '' then redis.call('ZREM', KEYS[2], tag) else redis.call('ZADD', KEYS[2], ends, tag) end
  end
end
return {removed, moved}
