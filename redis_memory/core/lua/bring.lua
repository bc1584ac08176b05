-- Bring attributes of the old layout into a memory, each unless it was brought before or a newer one is
-- there. KEYS: memory, notes, then the content of each attribute. ARGV: the run; 'newest', 'skip' or 'replace';
-- 'dry' changes nothing; the lifetime that a memory gets that begins now, or ''; then for each attribute its
-- name, a digest of what lies under the old key, when that was changed (microseconds, 0 for unknown), its
-- kind, how many arguments, and those, as a change that assigns it has them. Answers a letter for each: b
-- brought, r replaced, k known (brought before), n newer there, x exists, g brought before and gone with the
-- whole memory since, c another type of key lies there, e the memory is encrypted.
local call, format, match = redis.call, string.format, string.match
local memory, notes = KEYS[1], KEYS[2]
local run, how, is_dry = ARGV[1], ARGV[2], ARGV[3] == 'dry'
local stored = call('HMGET', memory, '_version', '_created', '_until', '_ttl')
local newest = stored[1] and tonumber(stored[1], 16) or 0
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
-- As long as nobody else has changed the memory, its times are those of the old layout. Not when it was
-- brought before and is gone: the same time would be the version of two states.
local is_ours = call('HGET', notes, '_version') == stored[1]
local begun = nil
local is_encrypted = call('HEXISTS', memory, '_sealed') == 1

-- What is to become of an attribute, and whether that is still to be done.
local function outcome(name, digest, stamp, kind, content)
  local field, note = call('HGET', memory, name), call('HGET', notes, name)
  local seen, version, by, what
  if note then seen, version, by, what = match(note, '^(%x+) (%x+) (%x+) (%l)$') end
  local there = field and match(field, '^%l(%x+)')
  local has_stayed = there and there == version
  if seen == digest then
    -- asked once more by the same run: the answer was lost
    if by == run then return what, false end
    if how ~= 'replace' or has_stayed then return stored[1] and 'k' or 'g', false end
  end
  if is_encrypted then return 'e', false end
  if (kind == 'l' or kind == 'd') and call('TYPE', content).ok == 'string' then return 'c', false end
  if not field then return 'b', true end
  if how == 'skip' and not has_stayed then return 'x', false end
  if how == 'newest' and not has_stayed and tonumber(there or '0', 16) >= stamp then return 'n', false end
  return 'r', true
end

local function store(name, kind, content, version, last, from, to)
  call('DEL', content)
  if kind == 'v' or kind == 'n' then
    call('HSET', memory, name, kind .. last .. ';' .. ARGV[from])
    return kind .. last .. ';'
  end
  local size = 0
  if kind == 'l' then
    for k = from, to, 7000 do  -- unpack fails beyond 8,000 items
      call('RPUSH', content, unpack(ARGV, k, math.min(k + 6999, to)))
    end
    size = to - from + 1
  else
    for k = from, to, 3 do
      local spelling = ARGV[k + 1]
      local head = format('%013x', version) .. (spelling == '' and ';' or ':' .. #spelling .. ':' .. spelling)
      call('HSET', content, ARGV[k], head .. ARGV[k + 2])
      version, size = version + 1, size + 1
    end
  end
  local descriptor = format('%s%s %s %s %s %d;', kind, last, last, last, last, size)
  call('HSET', memory, name, descriptor)
  return descriptor
end

local letters, at = {}, 5
for i = 3, #KEYS do
  local name, digest, stamp, kind = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  local from, to = at + 5, at + 4 + tonumber(ARGV[at + 4])
  local letter, is_due = outcome(name, digest, stamp, kind, KEYS[i])
  letters[#letters + 1] = letter
  if is_due and not is_dry then
    -- before any effect: a user who may not publish is refused now, and not in the middle
    if not begun then call('PUBLISH', memory .. '~feed', '') end
    local steps = kind == 'd' and math.max(1, (to - from + 1) / 3) or 1
    local made = is_ours and stamp > 0 and math.min(stamp, now) or now
    local version = math.max(newest + 1, made - steps + 1)
    newest = version + steps - 1
    begun = math.min(begun or made, made)
    local last = format('%013x', newest)
    call('HSET', memory, '_version', last)
    call('HSET', notes, name, format('%s %s %s %s', digest, last, run, letter), '_version', last)
    local descriptor = store(name, kind, KEYS[i], version, last, from, to)
    call('PUBLISH', memory .. '~feed', '_w000000000000000000s' .. #name .. ':' .. name .. descriptor)
  end
  at = to + 1
end
if is_dry then return letters end

if begun then
  local created, ends = stored[2], stored[3]
  if not created or is_ours and begun < tonumber(created, 16) then
    call('HSET', memory, '_created', format('%013x', begun))
  end
  if not created and not stored[4] and ARGV[4] ~= '' then
    ends = format('%.0f', math.floor(now / 1000) + tonumber(string.sub(ARGV[4], 2)))
    call('HSET', memory, '_ttl', ARGV[4], '_until', ends)
  end
  if ends then
    call('PEXPIREAT', memory, ends)
    for i = 3, #KEYS do call('PEXPIREAT', KEYS[i], ends) end
  else
    call('PERSIST', memory)
  end
end
-- of use for as long as the old keys may be there
call('EXPIRE', notes, 2592000)
return letters
