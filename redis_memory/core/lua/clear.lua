-- Delete every attribute and move the epoch. KEYS: memory, then the content of each container that
-- the caller knows of. ARGV: writer, nothing, number, seconds that the writers outlive the
-- attributes, then the names of those containers.
local named = {}
for i = 5, #ARGV do named[ARGV[i]] = true end
local fields = call('HGETALL', memory)
local undeclared = {number, 'undeclared', '', ''}
for i = 1, #fields, 2 do
  local is_container = match(fields[i + 1], '^[lde]') and string.sub(fields[i], 1, 1) ~= '_'
  if is_container and not named[fields[i]] then undeclared[#undeclared + 1] = fields[i] end
end
-- a key that was not declared must not be touched: the caller asks again with these names too
if #undeclared > 4 then return undeclared end

take('ok', '')
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 1) ~= '_' then
    call('HDEL', memory, fields[i])
  elseif string.sub(fields[i], 1, 2) == '_w' and fields[i] ~= writer then
    -- what a writer took last was a value of this memory
    local head, result = match(fields[i + 1], '^(%d+ %d+ )%l+ (.*)$')
    if result and result ~= '' then call('HSET', memory, fields[i], head .. 'cleared ') end
  end
end
for i = 2, #KEYS do call('DEL', KEYS[i]) end
call('HDEL', memory, '_created')
call('HSET', memory, '_version', format('%013x', version))
call('HINCRBY', memory, '_epoch', 1)
call('EXPIRE', memory, ARGV[4])
return {number, 'ok', '', ''}
