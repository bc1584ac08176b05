-- Store a whole memory as one step. KEYS: memory, stamps, then the contents of all containers, of those
-- that are there now too. ARGV: a token, by which a call that is sent again is known, and what was stored in
-- the same run (the part before the colon), which may be replaced while nobody has changed it; 'create' or
-- 'replace'; when the memory was created, '' for now; its lifetime, '' for none, and the end of that, '' where
-- it begins now; then for each attribute its name, its kind, how many arguments, and those, as a change that
-- assigns it has them; marks of schemas have the kind m.
local call, format, match = redis.call, string.format, string.match
local memory, stamps = KEYS[1], KEYS[2]
local stored = call('HMGET', memory, '_version', '_created', '_restored')
-- behind the token stands the version that it was stored with
local token, left = match(stored[3] or '', '^(%S*) ?(%x*)$')
if token == ARGV[1] then return {'ok', 'created'} end
local is_own = token and match(token, '^[^:]*') == match(ARGV[1], '^[^:]*') and left == stored[1]
if stored[2] and ARGV[2] == 'create' and not is_own then return {'exists'} end

local undeclared = {'undeclared'}
local _, fields = declared_keys(undeclared)
if #undeclared > 1 then return undeclared end

local time = call('TIME')
local version = time[1] * 1000000 + time[2]
local newest = stored[1] and tonumber(stored[1], 16)
if newest and newest >= version then version = newest + 1 end
local begun = format('%013x', version)
-- before anything else, so that a refusal by the server leaves nothing half done; the epoch keeps off what
-- others had queued for the memory as it was
call('HSET', memory, '_restored', ARGV[1], '_version', begun, '_epoch', begun .. ' 00000000')
for i = 1, #fields, 2 do
  -- schemas and the key are those of the attributes that go
  local is_of_values = fields[i] == '_sealed' or string.sub(fields[i], 1, 8) == '_schema:'
  if string.sub(fields[i], 1, 1) ~= '_' or is_of_values then
    call('HDEL', memory, fields[i])
  elseif string.sub(fields[i], 1, 2) == '_w' then
    -- what a writer took last was a value of this memory
    local head, result = match(fields[i + 1], '^(%d+ %x+ )%l+ (.*)$')
    if result and result ~= '' then call('HSET', memory, fields[i], head .. 'cleared ') end
  end
end
for i = 2, #KEYS do call('DEL', KEYS[i]) end
call('HDEL', memory, '_ttl', '_until')
call('PERSIST', memory)

local i = 6
while i <= #ARGV do
  local name, kind, count = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local content, from, to = memory .. ':' .. name, i + 3, i + 2 + count
  local now, size = format('%013x', version), 0
  if kind == 'm' then
    call('HSET', memory, name, ARGV[from])
  elseif kind == 'v' or kind == 'n' then
    call('HSET', memory, name, kind .. now .. ';' .. ARGV[from])
  else
    if kind == 'l' then
      for k = from, to, 7000 do  -- unpack fails beyond 8,000 items
        call('RPUSH', content, unpack(ARGV, k, math.min(k + 6999, to)))
      end
      size = count
    elseif kind == 'd' then
      for k = from, to, 3 do
        local spelling = ARGV[k + 1]
        local head = format('%013x', version) .. (spelling == '' and ';' or ':' .. #spelling .. ':' .. spelling)
        call('HSET', content, ARGV[k], head .. ARGV[k + 2])
        version, size = version + 1, size + 1
      end
    else
      for k = from, to, 2 do size = size + call('HSET', content, ARGV[k], ARGV[k + 1]) end
    end
    now = format('%013x', version)
    call('HSET', memory, name, format('%s%s %s %s %s %d;', kind, now, now, now, now, size))
  end
  version, i = version + 1, to + 1
end
local created = ARGV[3] ~= '' and ARGV[3] or begun
local last = format('%013x', version)
call('HSET', memory, '_version', last, '_created', created, '_restored', ARGV[1] .. ' ' .. last)
if ARGV[4] == 'e0' then  -- none, whatever the settings of a worker say
  call('HSET', memory, '_ttl', ARGV[4])
elseif ARGV[4] ~= '' then
  local ends = ARGV[5]
  if ends == '' then
    ends = format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(string.sub(ARGV[4], 2)))
  end
  call('HSET', memory, '_ttl', ARGV[4], '_until', ends)
  for k = 1, #KEYS do call('PEXPIREAT', KEYS[k], ends) end
end
call('PUBLISH', memory .. '~feed', '_w000000000000000000x0:' .. begun .. ';')
return {'ok', stored[2] and not is_own and 'replaced' or 'created'}
