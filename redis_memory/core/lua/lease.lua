-- The head of every script of a lease: who holds it, until when, and who waits for it. KEYS: memory.
-- ARGV: the lease's field, the id of who asks.
-- The field: `<token> <until> <holder> <waiters> <owner>`, where `until` is the server's time in
-- microseconds and waiters are `<id>~<deadline>;` in their order. While nobody holds it the token is 0,
-- the holder `-`, and until then it is kept for the first who waits. `_token` holds when the memory gave
-- its first token, and the last one.
local call, match, format = redis.call, string.match, string.format
local memory, field, id = KEYS[1], ARGV[1], ARGV[2]
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
-- how long it is kept for the first who waits
local grace = 1000000
local stored = call('HMGET', memory, field, '_token', '_created')
local token, ends, holder, waiters, owner = match(stored[1] or '', '^(%x+) (%x+) (%S+) (%S+) (.*)$')
ends = tonumber(ends or '0', 16)
local birth = match(stored[2] or '', '^%x+') or ''
local is_held = ends > now and holder ~= '-'
local is_mine = is_held and holder == id
local queue, place = {}, nil
for waiter, deadline in string.gmatch(waiters or '', '(%x+)~(%x+)') do
  -- whoever does not ask again in time is gone
  if tonumber(deadline, 16) > now then
    queue[#queue + 1] = {waiter, deadline}
    if waiter == id then place = #queue end
  end
end

local function store()
  local row = {}
  for i, waiting in ipairs(queue) do row[i] = waiting[1] .. '~' .. waiting[2] .. ';' end
  local all = #row > 0 and table.concat(row) or '-'
  call('HSET', memory, field, format('%s %013x %s %s %s', token, ends, holder, all, owner))
end

-- Nobody holds it: keep it for the first who waits, and tell him.
local function hand_over()
  if #queue == 0 then return call('HDEL', memory, field) end
  local next_one = queue[1][1]
  call('PUBLISH', memory .. '~feed', '_l' .. id .. 'l' .. #field .. ':' .. field .. format('l%013x;', now) .. next_one)
  token, ends, holder, owner = '0', now + grace, '-', ''
  store()
end
