-- Set the keys given as triples (key, spelling, value), each behind all keys that are there.
local function put(from)
  for i = from, final, 3 do
    local key, spelling, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if passed_over and value == '' then  -- the function that decides conflicts has deleted it
      size = size - call('HDEL', content, key)
      bury(name .. '\0' .. key, stamped())
    elseif not (passed_over and passed_over[i]) then
      local old = call('HGET', content, key)
      replaced_by(value)
      if old then
        call('HSET', content, key, item_with(old, value))
      else
        local head = format('%013x', version - (final - i - 2) / 3) .. (is_late and ',' .. stamped() or '')
        head = head .. (spelling == '' and ';' or ':' .. #spelling .. ':' .. spelling)
        call('HSET', content, key, head .. value)
        size = size + 1
      end
    end
  end
end
