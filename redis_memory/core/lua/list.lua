-- Changes of a list other than append. Indexes are those of the caller's copy.
local function remove_at(index)
  if index == '-1' then return call('RPOP', content) end
  if index == '0' then return call('LPOP', content) end
  -- no stored value begins with byte 193, so this marker is nowhere else in the list
  call('LSET', content, index, '\193')
  call('LREM', content, 1, '\193')
end

local function insert_at(index, value)
  if index <= 0 then return call('LPUSH', content, value) end
  if index >= size then return call('RPUSH', content, value) end
  local marked = call('LINDEX', content, index)
  call('LSET', content, index, '\193')
  call('LINSERT', content, 'BEFORE', '\193', value)
  call('LSET', content, index + 1, marked)
end

local function change_list()
  if kind ~= 'l' then return refuse(field and 'kind' or 'gone') end
  local index, value, result = ARGV[at + 1], ARGV[at + 2], ''
  if operation == 'set' then
    if shifted() or not is_seen(index, at + 3 <= final and ARGV[at + 3]) then return refuse('stale') end
    begin('')
    call('LSET', content, index, value)
    replaced_by(value)
    return describe('')
  elseif operation == 'take' then
    -- the ends belong to whoever comes first; any other index means the element that was seen
    if value == 'seen' and shifted() then return refuse('stale') end
    result = call('LINDEX', content, index)
    if not result then return refuse_absent() end
    begin(result)
    remove_at(index)
    size = size - 1
  elseif operation == 'delete' then
    if shifted() or not is_seen(index, at + 2 <= final and value) then return refuse('stale') end
    begin('')
    remove_at(index)
    size = size - 1
  elseif operation == 'remove' then
    begin('')
    local removed = call('LREM', content, 1, index)
    if removed == 0 then return refuse_absent() end
    size = size - 1
  elseif operation == 'insert' then
    begin('')
    index = tonumber(index)
    if index < 0 then index = size + index end
    insert_at(index, value)
    size = size + 1
  elseif operation == 'rewrite' then
    -- sort, slices and the like are computed from the caller's copy: it must be the newest one
    if not is_newest() then return refuse('conflict') end
    begin('')
    call('DEL', content)
    push(at + 1)
    size = final - at
  elseif operation == 'empty' then
    begin('')
    call('DEL', content)
    size = 0
  end
  shift = format('%013x', version)
  return describe(result)
end
