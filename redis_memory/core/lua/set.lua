-- Changes of a set.
local function keep()
  local kept = {}
  for i = at + 1, final, 2 do kept[ARGV[i]] = true end
  for _, member in ipairs(call('HKEYS', content)) do
    if not kept[member] then size = size - call('HDEL', content, member) end
  end
end

local function toggle()
  for i = at + 1, final, 2 do
    local removed = call('HDEL', content, ARGV[i])
    size = size - removed
    if removed == 0 then size = size + call('HSETNX', content, ARGV[i], ARGV[i + 1]) end
  end
end

local function change_set()
  if kind ~= 'e' then return refuse(field and 'kind' or 'gone') end
  local result = ''
  if operation == 'take' then
    local member = at < final and ARGV[at + 1] or call('HKEYS', content)[1]
    local spelling = member and call('HGET', content, member)
    if not spelling then return refuse_absent() end
    result = #member .. ':' .. member .. spelling
    begin(result)
    call('HDEL', content, member)
    size = size - 1
    return describe(result)
  end
  begin('')
  if operation == 'add' then
    add(at + 1)
  elseif operation == 'discard' then
    for i = at + 1, final, 2 do size = size - call('HDEL', content, ARGV[i]) end
  elseif operation == 'keep' then
    keep()
  elseif operation == 'toggle' then
    toggle()
  elseif operation == 'empty' then
    call('DEL', content)
    size, base = 0, format('%013x', version)
  end
  return describe(result)
end
