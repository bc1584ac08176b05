-- Changes of a dict.
local function newest_key()
  local newest, key = -1, nil
  local all = call('HGETALL', content)
  for i = 1, #all, 2 do
    local turn = tonumber(match(all[i + 1], '^%x+'), 16)
    if turn > newest then newest, key = turn, all[i] end
  end
  return key
end

local function change_dict()
  if kind ~= 'd' then return refuse(field and 'kind' or 'gone') end
  local key, result = at < final and ARGV[at + 1] or nil, ''
  if operation == 'put' then
    begin('', math.max(1, (final - at) / 3))
    put(at + 1)
  elseif operation == 'default' then
    local old = call('HGET', content, key)
    if old then return refuse_there(old) end
    begin('')
    put(at + 1)
  elseif operation == 'take' then
    key = key or newest_key()
    local value = key and call('HGET', content, key)
    if not value then return refuse_absent() end
    result = #key .. ':' .. key .. value
    begin(result)
    call('HDEL', content, key)
    bury(name .. '\0' .. key, stamped())
    size = size - 1
  elseif operation == 'empty' then
    begin('')
    call('DEL', content)
    size, base = 0, format('%013x', version)
  end
  return describe(result)
end
