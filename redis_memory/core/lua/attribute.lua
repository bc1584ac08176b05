-- The attribute that is changed. ARGV[4]: the descriptor of the caller's copy, '' when it holds
-- none. ARGV[5]: the operation. Its arguments lie behind `at`, up to `final`.
--
-- A container's field is its descriptor: kind, version, base, shift, inner, size. Base is the version
-- of its last change that was no append: of two states with one base the longer begins with the
-- shorter. Shift is the version of its last change that moved elements to other indexes, inner of its
-- last change that did so in a list inside an element. A scalar's field is kind, version and then the
-- value. Versions are hexadecimal, in 13 digits until the year 2112, so that a descriptor mostly stays
-- within the 64 bytes up to which the server stores a hash compactly. Kinds: l list, d dict, e set,
-- n a number as text, v any other value.
local known, operation = ARGV[4], ARGV[5]
local at, final = 5, #ARGV
local kind, base, shift, inner, size, missed, elements
if field then
  kind, base, shift, inner, size = match(field, '^([lde])%x+ (%x+) (%x+) (%x+) (%d+);$')
  size = tonumber(size)
end

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

-- What the change is about is not there; whose copy has it is told what else it lacks.
local function refuse_absent()
  if known ~= '' then catch_up() end
  return refuse('absent')
end

-- Take the number for a change that moves the version by `steps`. With its first attribute a
-- memory begins, and no longer expires as one without attributes does.
local function begin(result, steps)
  if known ~= '' and kind then catch_up() end
  version = version + (steps or 1) - 1
  call('HSET', memory, writer, number .. ' ' .. time[1] .. ' ok ' .. result, '_version', format('%013x', version))
  if not field and call('HSETNX', memory, '_created', format('%013x', version)) == 1 then call('PERSIST', memory) end
end

local function describe_scalar(scalar, bytes, result)
  local descriptor = scalar .. format('%013x;', version)
  call('HSET', memory, name, descriptor .. bytes)
  return {number, 'ok', descriptor, result}
end

-- Describe a container after a change that was no append: no copy can follow it by a tail.
local function describe(result)
  local descriptor = format('%s%013x %013x %s %s %d;', kind, version, version, shift, inner, size)
  call('HSET', memory, name, descriptor)
  return {number, 'ok', descriptor, result, missed, elements}
end

-- May the caller's index mean another element by now?
local function shifted()
  local seen = match(known, '^l(%x+) ')
  return not seen or tonumber(shift, 16) > tonumber(seen, 16)
end

-- Storing a container over another makes indexes into lists inside it mean other elements.
local function replaced_by(value)
  local byte = string.byte(value, 1)
  local is_map_or_array = byte >= 0x80 and byte <= 0x9f or byte >= 0xdc and byte <= 0xdf
  local is_extension = byte >= 0xc7 and byte <= 0xc9 or byte >= 0xd4 and byte <= 0xd8
  if is_map_or_array or is_extension then inner = format('%013x', version) end
end

local function push(from)
  for i = from, final, 7000 do  -- unpack fails beyond 8,000 items
    call('RPUSH', content, unpack(ARGV, i, math.min(i + 6999, final)))
  end
end
