-- Delete the attribute. Argument: seconds that the writers outlive a memory without attributes.
local function delete()
  if not field then return refuse('gone') end
  known = ''
  begin('')
  call('HDEL', memory, name)
  call('DEL', content)
  bury(name, stamped())
  announce('d', format('%013x;', version), '')
  for _, other in ipairs(call('HKEYS', memory)) do
    if string.sub(other, 1, 1) ~= '_' then return {number, 'ok', '', ''} end
  end
  call('HDEL', memory, '_created', '_ttl', '_until')
  ends = nil
  call('EXPIRE', memory, ARGV[at + 1])
  return {number, 'ok', '', 'empty'}
end
