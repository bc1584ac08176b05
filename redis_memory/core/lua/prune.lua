-- Delete a whole memory if it has not been changed since it was looked at. Leases stay, so that nobody else
-- gets what is held now. KEYS: memory, stamps, the contents
-- of its containers. ARGV: the version that was seen; how: 'whole' leaves nothing, 'fence' keeps version, epoch
-- and writers for 7 days, so that what others have queued for it does not bring it back, 'dry' changes
-- nothing. Answers 'ok', 'gone', 'active' or 'undeclared', and the bytes that all its keys had.
local call, format, match = redis.call, string.format, string.match
local memory, seen, how = KEYS[1], ARGV[1], ARGV[2]
local stored = call('HMGET', memory, '_version', '_created')
if not stored[2] then return {'gone', 0} end
if stored[1] ~= seen then return {'active', 0} end

local undeclared = {'undeclared', 0}
local _, fields = declared_keys(undeclared)
if #undeclared > 2 then return undeclared end

local bytes = 0
for i = 1, #KEYS do
  -- a user who may not ask, or a server that cannot tell, counts nothing
  local size = redis.pcall('MEMORY', 'USAGE', KEYS[i])
  if type(size) == 'number' then bytes = bytes + size end
end
if how == 'dry' then return {'ok', bytes} end

local time = call('TIME')
local version = time[1] * 1000000 + time[2]
local newest = tonumber(seen, 16)
if newest and newest >= version then version = newest + 1 end
local now = format('%013x', version)
for i = 1, #fields, 2 do
  local held_until = string.sub(fields[i], 1, 2) == '_l' and match(fields[i + 1], '^%x+ (%x+) ')
  if held_until and tonumber(held_until, 16) > time[1] * 1000000 + time[2] then how = 'fence' end
end
if how == 'whole' then
  call('UNLINK', memory)
else
  local stays = {_version = true, _epoch = true, _token = true}
  call('HSET', memory, '_version', now, '_epoch', now .. ' 00000000')
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == '_w' then
      -- what a writer took last was a value of this memory
      local head, result = match(fields[i + 1], '^(%d+ %x+ )%l+ (.*)$')
      if result and result ~= '' then call('HSET', memory, fields[i], head .. 'cleared ') end
    elseif not (match(fields[i], '^_l') or stays[fields[i]]) then
      call('HDEL', memory, fields[i])
    end
  end
  call('EXPIRE', memory, 604800)
end
for i = 2, #KEYS do call('UNLINK', KEYS[i]) end
call('PUBLISH', memory .. '~feed', '_w000000000000000000x0:' .. now .. ';')
return {'ok', bytes}
