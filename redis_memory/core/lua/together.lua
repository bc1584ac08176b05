-- Make several changes as one, or none of them. First everything is checked; behind that nothing is
-- refused any more, since what is done stays done.
local makers = {list = change_list, dict = change_dict, set = change_set, assign = assign, swap = swap,
  increment = increment, delete = delete, clear = clear, append = extend, mark = mark}
local is_of = {list = 'l', dict = 'd', set = 'e'}

-- Is it still as the caller relies on?
local function holds(how, about, word)
  if how == 'lease' then
    local token, ends = match(call('HGET', memory, '_l' .. about) or '', '^(%S+) (%x+)')
    return token == word and tonumber(ends, 16) > time[1] * 1000000 + time[2]
  elseif how == 'there' then
    return call('HEXISTS', memory, about) == tonumber(word)
  end
  local now = call('HGET', memory, about)
  if word == '' then return not now end
  return now and string.sub(now, 1, #word) == word
end

-- Those names that have come or gone since the caller was told all of them.
local function other_names(word)
  local known, from, other = {}, 1, {}
  while from <= #word do
    local length = match(word, '^%d+', from)
    known[string.sub(word, from + #length + 1, from + #length + length)] = true
    from = from + #length + 1 + length
  end
  for _, found in ipairs(call('HKEYS', memory)) do
    if string.sub(found, 1, 1) ~= '_' then
      if not known[found] then other[#other + 1] = found end
      known[found] = nil
    end
  end
  for gone in pairs(known) do other[#other + 1] = gone end
  return other
end

-- What the changes would find, one after the other: '-' for nothing, a kind, of a number the text.
local found, is_cleared = {}, false

local function state_of(about)
  if found[about] then return found[about] end
  local now = not is_cleared and call('HGET', memory, about)
  if not now then return '-' end
  local letter, held = string.sub(now, 1, 1), match(now, '^[lde]%x+ %x+ %x+ %x+ (%d+);$')
  if held and redis.pcall(letter == 'l' and 'LLEN' or 'HLEN', memory .. ':' .. about) ~= tonumber(held) then
    error({err = 'WRONGTYPE elements of an attribute are missing or foreign'})
  end
  return letter == 'n' and 'n' .. match(now, ';(.*)$') or letter
end

local function sum_of(current, by)
  local sum = tonumber(current) + tonumber(by)
  if match(current .. by, '[.e]') then
    local text = format('%.17g', sum)
    return sum == sum and math.abs(sum) ~= math.huge and (match(text, '[.e]') and text or text .. '.0')
  end
  return #current <= 16 and #by <= 16 and math.abs(sum) < 1e15 and format('%d', sum) or nil
end

-- Why a change cannot be made, if it cannot.
local function misfit(script, about, from)
  local word, now, given = ARGV[from + 1], state_of(about), ARGV[from + 2]
  if script == 'clear' then
    found, is_cleared = {}, true
  elseif script == 'delete' then
    found[about] = '-'
  elseif script == 'assign' then
    if word == 'assign' or word == 'replace' or now == '-' then
      found[about] = given == 'n' and 'n' .. ARGV[from + 3] or given
    end
  elseif script == 'append' then
    if now ~= 'l' and not (now == '-' and word == 'push') then return now == '-' and 'gone' or 'kind' end
    found[about] = 'l'
  elseif script == 'increment' then
    if now ~= '-' and string.sub(now, 1, 1) ~= 'n' then return 'kind' end
    local sum = sum_of(now == '-' and '0' or string.sub(now, 2), given)
    if not sum then return 'large' end
    found[about] = 'n' .. sum
  elseif is_of[script] and now ~= is_of[script] then
    return now == '-' and 'gone' or 'kind'
  end
end

local function together()
  local checks_at, checks, names_at, names, changes_at = pieces_of(4)
  local undeclared = undeclared_by(changes_at, #ARGV)
  if #undeclared > 4 then return undeclared end

  local changed = {}
  local function tell(how, about)
    changed[#changed + 1] = #how .. ':' .. how .. #about .. ':' .. about
  end
  for i = checks_at, checks_at + 3 * checks - 1, 3 do
    if ARGV[i] == 'names' then
      for _, about in ipairs(other_names(ARGV[i + 2])) do tell('names', about) end
    elseif not holds(ARGV[i], ARGV[i + 1], ARGV[i + 2]) then
      tell(ARGV[i], ARGV[i + 1])
    end
  end
  if #changed > 0 then
    changed = table.concat(changed)
    take('conflict', changed)
    return {number, 'conflict', '', changed}
  end
  local i, which = changes_at, 0
  while i <= #ARGV do
    local why = misfit(ARGV[i], ARGV[i + 1], i + 3)
    if why then
      take(why, tostring(which))
      return {number, why, '', tostring(which)}
    end
    i, which = i + 3 + tonumber(ARGV[i + 2]), which + 1
  end
  local first = format('%013x', version)
  if which == 0 then
    take('ok', first)
    return {number, 'ok', 'x' .. first .. ';', first, 'together', {}}
  end

  -- are the caller's copies, with the changes, what the server holds then?
  local matched = {}
  for k = names_at, names_at + 2 * names - 1, 2 do
    matched[k] = ARGV[k + 1] == '*' or holds('as', ARGV[k], ARGV[k + 1])
  end
  call('HSET', memory, writer, number .. ' ' .. first .. ' ok ' .. first)
  local before = call('HGET', memory, '_created')
  version, i = version - 1, changes_at
  while i <= #ARGV do
    name = ARGV[i + 1]
    content, field, version = memory .. ':' .. name, call('HGET', memory, name), version + 1
    look(i + 3, i + 2 + tonumber(ARGV[i + 2]))
    makers[ARGV[i]]()
    i = i + 3 + tonumber(ARGV[i + 2])
  end
  local now = format('%013x', version)
  call('HSET', memory, writer, number .. ' ' .. now .. ' ok ' .. first, '_version', now)
  local after = call('HGET', memory, '_created')
  if not after then call('EXPIRE', memory, 604800) end
  if ends then
    for k = 3, #KEYS do call('PEXPIREAT', KEYS[k], ends) end
  end
  -- the caller sees to the directory, and to the lifetime of a memory that was emptied in between
  local outcome, left = not before and after and 'begun' or 'ok', first
  if before and before ~= after then left = after and 'anew' or 'empty' end

  local descriptors = {}
  for k = names_at, names_at + 2 * names - 1, 2 do
    local held = matched[k] and call('HGET', memory, ARGV[k])
    descriptors[#descriptors + 1] = held and match(held, '^[^;]+;') or ''
  end
  return {number, outcome, 'x' .. now .. ';', left, 'together', descriptors}
end
