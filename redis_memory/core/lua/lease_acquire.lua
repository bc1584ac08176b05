-- Take a lease or, while it is another one's turn, a place in the queue. ARGV[3]: for how many
-- microseconds, ARGV[4]: the owner, ARGV[5]: how long the place stays without being asked for again, 0
-- for who does not wait. Answers 'ok', the token and when the first one was given; or 'busy', and in
-- how many microseconds to ask again.
local ttl, patience = tonumber(ARGV[3]), tonumber(ARGV[5])
if is_mine then  -- the answer was lost
  ends = now + ttl
  store()
  return {'ok', token, birth}
end

if patience > 0 then
  place = place or #queue + 1
  queue[place] = {id, format('%013x', now + patience)}
end
if is_held then
  if place then store() end
  return {'busy', ends - now + grace * ((place or 1) - 1)}
end
if #queue > 0 then
  if not place then return {'busy', grace} end
  local is_kept = holder == '-' and ends > now
  if place > 1 and holder == '-' and not is_kept then
    table.remove(queue, 1)  -- he has had his time: he may be dead
    place = place - 1
  end
  if place > 1 and is_kept then
    store()
    return {'busy', ends - now + grace * (place - 2)}
  elseif place > 1 then
    hand_over()
    return {'busy', grace * (place - 1)}
  end
  table.remove(queue, 1)
end

if not stored[2] then
  call('PUBLISH', memory .. '~feed', '')  -- who may not publish is refused now, and not at the release
  birth = format('%013x', now)
end
-- the server's time, moved on where it would not be the largest so far
local last = match(stored[2] or '', ' (%x+)$') or '0'
token = format('%013x', math.max(now, tonumber(last, 16) + 1))
ends, holder, owner = now + ttl, id, ARGV[4]
call('HSET', memory, '_token', birth .. ' ' .. token)
store()
if not stored[3] then call('EXPIRE', memory, 604800) end
if now % 64 == 0 then
  -- leases that nobody has given up, and nobody asks for, do not stay forever
  for _, other in ipairs(call('HKEYS', memory)) do
    local ended = string.sub(other, 1, 2) == '_l' and match(call('HGET', memory, other), '^%x+ (%x+) ')
    if ended and tonumber(ended, 16) < now - 3600000000 then call('HDEL', memory, other) end
  end
end
return {'ok', token, birth}
