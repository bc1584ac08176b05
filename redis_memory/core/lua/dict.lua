-- Changes of a dict. Its values carry the turn in which their key was inserted, and the key's own
-- spelling when it is not canonical (1.0 and True are the key 1): `<turn>;` or `<turn>:<n>:<key>`.
local function prefix_of(value)
  local prefix = match(value, '^%x+;')
  if prefix then return prefix end
  local turn, length = match(value, '^(%x+):(%d+):')
  return string.sub(value, 1, #turn + #length + 2 + tonumber(length))
end

-- Set the keys given as triples (key, spelling, value), each behind all keys that are there.
local function put(from)
  for i = from, final, 3 do
    local key, spelling, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local old = call('HGET', content, key)
    replaced_by(value)
    if old then
      call('HSET', content, key, prefix_of(old) .. value)
    else
      local prefix = format('%013x', version - (final - i - 2) / 3)
      prefix = prefix .. (spelling == '' and ';' or ':' .. #spelling .. ':' .. spelling)
      call('HSET', content, key, prefix .. value)
      size = size + 1
    end
  end
end

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
  local key, result = ARGV[at + 1], ''
  if operation == 'put' then
    begin('', math.max(1, (final - at) / 3))
    put(at + 1)
  elseif operation == 'default' then
    local old = call('HGET', content, key)
    if old then
      catch_up()
      return refuse('exists', old)
    end
    begin('')
    put(at + 1)
  elseif operation == 'take' then
    key = key or newest_key()
    local value = key and call('HGET', content, key)
    if not value then return refuse_absent() end
    result = #key .. ':' .. key .. value
    begin(result)
    call('HDEL', content, key)
    size = size - 1
  elseif operation == 'empty' then
    begin('')
    call('DEL', content)
    size = 0
  end
  return describe(result)
end
