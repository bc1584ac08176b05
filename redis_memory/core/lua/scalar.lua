-- Store a scalar whatever was there. ARGV[4]: its kind (n or v), ARGV[5]: its bytes. Written
-- straight on as append.lua is, since nothing is called more often than these two.
version = format('%013x', version)
local descriptor = ARGV[4] .. version .. ';'
call('HSET', memory, writer, number .. ' ' .. version .. ' ok ', '_version', version, name, descriptor .. ARGV[5])
local outcome = 'ok'
if not field then
  if call('HSETNX', memory, '_created', version) == 1 then
    if ends then call('PEXPIREAT', memory, ends) else call('PERSIST', memory) end
    outcome = 'begun'
  end
elseif match(field, '^[^nv]') then
  call('DEL', content)
end
local payload = #ARGV[5] > 16384 and '' or ARGV[5]
call('PUBLISH', memory .. '~feed', writer .. 's' .. #name .. ':' .. name .. descriptor .. payload)
return {number, outcome, descriptor, ''}
