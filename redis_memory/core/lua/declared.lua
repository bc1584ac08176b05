-- The contents that KEYS name, as a set, and the fields of the memory. Behind `answer` come its containers that
-- KEYS do not name: a key that was not declared must not be touched, so the caller asks again with these too.
local function declared_keys(answer)
  local declared, fields = {}, redis.call('HGETALL', KEYS[1])
  for i = 3, #KEYS do declared[KEYS[i]] = true end
  for i = 1, #fields, 2 do
    local is_container = string.match(fields[i + 1], '^[lde]') and string.sub(fields[i], 1, 1) ~= '_'
    if is_container and not declared[KEYS[1] .. ':' .. fields[i]] then answer[#answer + 1] = fields[i] end
  end
  return declared, fields
end

