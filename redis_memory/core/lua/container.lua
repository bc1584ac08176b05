-- Describe a container after a change that was no append: no copy can follow it by a tail.
local function describe(result)
  local now = format('%013x', version)
  local descriptor = format('%s%s %s %s %s %d;', kind, now, kind ~= 'l' and base or now, shift, inner, size)
  call('HSET', memory, name, descriptor)
  announce((operation == 'assign' or operation == 'create') and 's' or 'c', descriptor, '')
  return {number, outcome, descriptor, result, missed, elements}
end
