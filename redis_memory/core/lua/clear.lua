-- Delete every attribute and move the epoch. The third KEY is stamps; contents of all containers that
-- the caller knows of are among the others. Argument: seconds that the writers outlive the attributes.
local function clear()
  local undeclared = {number, 'undeclared', '', ''}
  local declared, fields = declared_keys(undeclared)
  if #undeclared > 4 then return undeclared end

  local is_spared = spare_newer and spare_newer(fields)
  known, field = '', true
  begin('')
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) ~= '_' then
      if not (is_spared and passed_over[fields[i]]) then
        call('HDEL', memory, fields[i])
        local elements_key = memory .. ':' .. fields[i]
        if declared[elements_key] then call('DEL', elements_key) end
      end
    elseif string.sub(fields[i], 1, 2) == '_w' and fields[i] ~= writer then
      -- what a writer took last was a value of this memory
      local head, result = match(fields[i + 1], '^(%d+ %x+ )%l+ (.*)$')
      if result and result ~= '' then call('HSET', memory, fields[i], head .. 'cleared ') end
    end
  end
  call('PUBLISH', memory .. '~feed', writer .. 'x0:' .. format('%013x;', version))
  if is_spared then return {number, 'ok', '', ''} end
  for i = 3, #KEYS do call('DEL', KEYS[i]) end
  call('HDEL', memory, '_created', '_ttl', '_until')
  ends = nil
  -- when, and by whom: what others had queued before this must not bring anything back
  call('HSET', memory, '_epoch', format('%013x ', version) .. string.sub(writer, -8))
  call('EXPIRE', memory, ARGV[at + 1])
  return {number, 'ok', '', ''}
end
