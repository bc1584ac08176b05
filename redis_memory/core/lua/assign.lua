-- Store a value whatever was there. Arguments: kind, then a scalar's bytes or the elements of a
-- container. The operation `create` leaves an attribute alone that exists already; `replace` acts
-- only while the attribute is the scalar that the caller knows.
local function assign()
  local given = ARGV[at + 1]
  if operation == 'create' and field then return refuse('exists') end
  if operation == 'replace' and string.sub(field or '', 1, #known) ~= known then
    return refuse('conflict')
  end
  known = ''
  begin('', given == 'd' and math.max(1, (final - at - 1) / 3) or 1)
  -- also where no field names them: elements stay behind when only the memory's hash is evicted
  call('DEL', content)
  if given == 'v' or given == 'n' then return describe_scalar(given, ARGV[at + 2], '') end

  kind, size = given, 0
  shift = format('%013x', version)
  base, inner = shift, shift
  if kind == 'l' then
    push(at + 2)
    size = final - at - 1
  elseif kind == 'd' then
    put(at + 2)
  else
    add(at + 2)
  end
  return describe('')
end
