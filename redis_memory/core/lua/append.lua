-- Append to a list; the operation `push` creates one that is missing. ARGV[4]: the descriptor of
-- the caller's copy or '', ARGV[5]: the operation, then the values. Written straight on, without
-- the functions of attribute.lua: creating those costs 4 us of 24 at every call.
local known, operation, sub = ARGV[4], ARGV[5], string.sub
local middle, size, missed, elements = nil, 0, nil, nil
version = format('%013x', version)
if field then
  -- the parts of a list's descriptor have fixed widths, all but the last one
  size = string.byte(field) == 108 and tonumber(sub(field, 58, -2))
  middle = size and sub(field, 16, 56)
  if known ~= field and known ~= '' and middle then
    local is_tail = sub(known, 16, 28) == sub(field, 16, 28)
    missed = is_tail and 'tail' or 'whole'
    elements = call('LRANGE', content, is_tail and sub(known, 58, -2) or 0, -1)
  end
elseif operation == 'push' then
  middle = version .. ' ' .. version .. ' ' .. version
end
if not middle then
  local status = field and 'kind' or 'gone'
  call('HSET', memory, writer, number .. ' ' .. version .. ' ' .. status .. ' ')
  if not stored[2] then call('EXPIRE', memory, 604800) end
  return {number, status, field or '', ''}
end

size = format('%d', size + #ARGV - 5)
local descriptor = 'l' .. version .. ' ' .. middle .. ' ' .. size .. ';'
call('HSET', memory, writer, number .. ' ' .. version .. ' ok ' .. size, '_version', version, name, descriptor)
local outcome = 'ok'
if not field then
  call('DEL', content)
  if call('HSETNX', memory, '_created', version) == 1 then
    if ends then call('PEXPIREAT', memory, ends) else call('PERSIST', memory) end
    outcome = 'begun'
  end
end
for i = 6, #ARGV, 7000 do  -- unpack fails beyond 8,000 items
  local pushed
  if #ARGV == 6 then
    pushed = redis.pcall('RPUSH', content, ARGV[6])
  else
    pushed = redis.pcall('RPUSH', content, unpack(ARGV, i, math.min(i + 6999, #ARGV)))
  end
  if type(pushed) == 'table' then
    call('HSET', memory, writer, number .. ' ' .. version .. ' error ' .. pushed.err, name, field or descriptor)
    return {number, 'error', '', pushed.err}
  end
end
if ends then call('PEXPIREAT', content, ends) end
-- as announce.lua has it
local what, payload, bytes = 'c', '', 0
if #ARGV == 6 then
  if #ARGV[6] <= 16384 then what, payload = 'a', ARGV[6] end
else
  for i = 6, #ARGV do bytes = bytes + #ARGV[i] end
  for i = 6, bytes > 16384 and 0 or #ARGV do what, payload = 'm', payload .. #ARGV[i] .. ':' .. ARGV[i] end
end
call('PUBLISH', memory .. '~feed', writer .. what .. #name .. ':' .. name .. descriptor .. payload)
return {number, outcome, descriptor, size, missed, elements}
