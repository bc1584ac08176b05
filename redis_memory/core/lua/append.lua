-- Append to a list; the operation `push` creates one that is missing. ARGV[4]: the descriptor of
-- the caller's copy or '', ARGV[5]: the operation, then the values. Written straight on, without
-- the functions of attribute.lua: creating those costs 4 us of 24 at every call.
local known, operation = ARGV[4], ARGV[5]
local middle, size, missed, elements = nil, 0, nil, nil
version = format('%.0f', version)
if field then
  middle, size = match(field, '^l%d+ (%d+ %d+ %d+) (%d+) %d+;$')
  if middle and known ~= field and known ~= '' then
    local base, length = match(known, '^l%d+ (%d+) %d+ %d+ (%d+) ')
    missed = base == match(middle, '^%d+') and 'tail' or 'whole'
    elements = call('LRANGE', content, missed == 'tail' and length or 0, -1)
  end
elseif operation == 'push' then
  middle = now .. ' ' .. version .. ' 0'
  if call('HSETNX', memory, '_created', now) == 1 then call('PERSIST', memory) end
end
if not middle then
  local status = field and 'kind' or 'gone'
  call('HSET', memory, writer, number .. ' ' .. time[1] .. ' ' .. status .. ' ')
  if not stored[2] then call('EXPIRE', memory, 604800) end
  return {number, status, field or '', ''}
end

size = format('%.0f', size + #ARGV - 5)
local descriptor = 'l' .. version .. ' ' .. middle .. ' ' .. size .. ' ' .. now .. ';'
call('HSET', memory, writer, number .. ' ' .. time[1] .. ' ok ' .. size, '_version', version, name, descriptor)
for i = 6, #ARGV, 7000 do  -- unpack fails beyond 8,000 items
  local pushed = redis.pcall('RPUSH', content, unpack(ARGV, i, math.min(i + 6999, #ARGV)))
  if type(pushed) == 'table' then
    call('HSET', memory, writer, number .. ' ' .. time[1] .. ' error ', name, field or descriptor)
    return {number, 'error', '', pushed.err}
  end
end
return {number, 'ok', descriptor, size, missed, elements}
