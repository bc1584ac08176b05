-- A change in a script of its own: it tells the caller what its copy lacks.
local is_late = false

local function refuse(status, result)
  take(status, '')
  return {number, status, field or '', result or '', missed, elements}
end

-- What the caller's copy lacks, as it was before this change.
local function catch_up()
  if known == field then return end
  if kind == 'l' then
    local same, length = match(known, '^l%x+ (%x+) %x+ %x+ (%d+);')
    local is_tail = same == base
    missed, elements = is_tail and 'tail' or 'whole', call('LRANGE', content, is_tail and length or 0, -1)
  else
    missed, elements = 'whole', call('HGETALL', content)
  end
end

-- Take the number for a change that moves the version by `steps`.
local function begin(result, steps)
  if known ~= '' and kind then catch_up() end
  version = version + (steps or 1) - 1
  local now = format('%013x', version)
  call('HSET', memory, writer, number .. ' ' .. now .. ' ok ' .. result, '_version', now)
  -- with its first attribute a memory begins, and no longer expires as one without attributes does
  if not field and call('HSETNX', memory, '_created', now) == 1 then
    if ends then call('PEXPIREAT', memory, ends) else call('PERSIST', memory) end
    outcome = 'begun'
  end
end
