-- Append to a list, as one change of several. `push` creates one that is missing.
local function extend()
  if not field and operation == 'push' then
    kind, size = 'l', 0
    base, shift = format('%013x', version), format('%013x', version)
    inner = base
    call('DEL', content)
  elseif kind ~= 'l' then
    return refuse(field and 'kind' or 'gone')
  end
  appear()
  push(at + 1)
  size = size + final - at
  local descriptor, bytes, parts = format('l%013x %s %s %s %d;', version, base, shift, inner, size), 0, {}
  call('HSET', memory, name, descriptor)
  for k = at + 1, final do bytes = bytes + #ARGV[k] end
  if bytes <= 16384 then
    for k = at + 1, final do parts[#parts + 1] = #ARGV[k] .. ':' .. ARGV[k] end
  end
  announce(#parts > 0 and 'm' or 'c', descriptor, table.concat(parts))
  return {number, 'ok'}
end
