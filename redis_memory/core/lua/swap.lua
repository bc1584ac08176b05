-- Where the value of an item begins.
local function value_of(item)
  local turn, stamp, ending = head_of(item)
  return #turn + (stamp == '' and 0 or #stamp + 1) + #ending + 1
end

-- Replace one element of a container, or a whole scalar, while its bytes are still the same.
-- Arguments: where (an index or a key), old bytes, new bytes, '1' when elements moved inside it.
local function swap()
  local where, old, new = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local begins, current = 1, nil
  if not field then return refuse('gone') end
  if kind == 'l' then
    if shifted() then return refuse('stale') end
    current = call('LINDEX', content, where)
  elseif kind == 'd' then
    current = call('HGET', content, where)
    begins = current and value_of(current)
  elseif string.sub(field, 1, 1) == 'v' then
    begins, current = #match(field, '^v%x+;') + 1, field
  else
    return refuse('gone')
  end
  if not current then return refuse('gone') end
  local value = string.sub(current, begins)
  if value ~= old and not is_assured then return refuse('conflict', value) end
  if not kind then
    begin('')
    return describe_scalar('v', new, '')
  end
  begin('')
  if kind == 'l' then
    call('LSET', content, where, new)
  else
    call('HSET', content, where, item_with(current, new))
  end
  if ARGV[at + 4] == '1' then inner = format('%013x', version) end
  return describe('')
end
