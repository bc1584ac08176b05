-- Make the changes one after another; each may fail without stopping those behind it.
local records, takes_all = {}, {assign = true, delete = true, clear = true}
-- of one change of several: the number and which one it is
local label
-- Does the change replace, or remove, all that the attribute held?
local function is_whole(script)
  return takes_all[script] or operation == 'empty'
end

local runs = {list = change_list, dict = change_dict, set = change_set, assign = assign, swap = swap,
  increment = increment, delete = delete, clear = clear, append = extend, mark = mark}

function runs.skip() return {number, 'ok'} end

-- `<length>:<part>` for each part, as one part.
local function packed(parts)
  for i, part in ipairs(parts) do
    part = tostring(part)
    parts[i] = #part .. ':' .. part
  end
  local all = table.concat(parts)
  return #all .. ':' .. all
end

local function tell(status, winner, key, at_stamp, value, rest)
  local parts = {label or format('%d', number), status, winner, key or '', at_stamp or '', value or ''}
  for _, element in ipairs(rest or {}) do parts[#parts + 1] = element end
  records[#records + 1] = packed(parts)
end

-- Who wins where both have changed the same: 'mine', 'theirs' or, for the writer to say, 'ask'.
local function winner_over(at_stamp)
  if policy ~= 'newest' then return policy end
  return stamp > sub(at_stamp, 1, 13) and 'mine' or 'theirs'
end

-- The attribute has been changed by others since: who wins, after telling what loses or is to decide.
local function contest()
  local winner, rest = winner_over(theirs_stamp), nil
  if kind then rest = kind == 'l' and call('LRANGE', content, 0, -1) or call('HGETALL', content) end
  tell('conflict', winner, '', theirs_stamp, field or '', rest)
  return winner
end

-- The same for one key of a dict.
local function contest_key(key)
  local item = call('HGET', content, key)
  local at_stamp
  if item then
    local turn, set = head_of(item)
    at_stamp = set == '' and turn or set
  else
    at_stamp = call('HGET', stamps, name .. '\0' .. key) or base ~= own_whole and base or '0'
  end
  if at_stamp <= seen or at_stamp == own or sub(at_stamp, 15) == tag then return 'mine' end
  local winner = winner_over(at_stamp)
  tell('conflict', winner, key, at_stamp, item or '')
  return winner
end

-- What others have made since stays when a `clear` comes too late for it; is there such a thing?
function spare_newer(fields)
  local is_spared = false
  for i = 1, #fields, 2 do
    if sub(fields[i], 1, 1) ~= '_' then
      name, field, content = fields[i], fields[i + 1], memory .. ':' .. fields[i]
      kind, base, shift = match(field, '^([lde])%x+ (%x+) (%x+)')
      survey()
      if theirs > seen then
        local winner = policy
        if policy == 'newest' or policy == 'ask' then
          winner = stamp > sub(theirs_stamp, 1, 13) and 'mine' or 'theirs'
        end
        local rest = kind and (kind == 'l' and call('LRANGE', content, 0, -1) or call('HGETALL', content))
        tell('conflict', winner, name, theirs_stamp, field, rest)
        passed_over[name] = winner == 'theirs'
        is_spared = is_spared or winner == 'theirs'
      end
    end
  end
  name = ''
  return is_spared
end

-- Is the change to be made, left out, or asked about?
local function judged(script)
  if operation == 'put' or operation == 'default' or operation == 'take' then
    if script ~= 'dict' or kind ~= 'd' then return 'mine' end
    if operation ~= 'put' then
      -- who deletes what is gone already has no quarrel
      local is_there = operation == 'take' and at < final and call('HEXISTS', content, ARGV[at + 1]) == 1
      return is_there and contest_key(ARGV[at + 1]) or 'mine'
    end
    local left, is_open = 0, false
    for i = at + 1, final, 3 do
      local winner = contest_key(ARGV[i])
      passed_over[i], is_open = winner == 'theirs', is_open or winner == 'ask'
      if winner ~= 'theirs' then left = left + 1 end
    end
    return is_open and 'ask' or left > 0 and 'mine' or 'theirs'
  end
  if not is_whole(script) or script == 'clear' then return 'mine' end
  -- what was created meanwhile is left alone, and what is gone need not be deleted
  if operation == 'create' and field or script == 'delete' and not field then return 'mine' end
  if theirs <= seen then return 'mine' end
  return contest()
end

local function make(script)
  local epoch, cleared_by = match(stored[3] or '', '^(%x+) ?(%x*)$')
  if script == 'skip' or script == 'mark' then return runs[script]() end
  if epoch and epoch > seen and cleared_by ~= tag then
    -- who has cleared what others have cleared has what he wanted
    return script == 'clear' and {number, 'ok'} or refuse('cleared')
  end
  survey()
  local judgement = judged(script)
  if judgement == 'ask' then return {number, 'ask'} end
  if judgement == 'theirs' then return {number, 'ok'} end
  local reply = runs[script]()
  if reply[2] == 'ok' and script == 'clear' then
    stored[3] = call('HGET', memory, '_epoch')
    if call('EXISTS', stamps) == 0 then notes = {} end
  elseif reply[2] == 'ok' then
    note_down(is_whole(script))
  end
  return reply
end

-- Changes that are made as one: each is judged by itself, and none of them can stop the replay.
local function together()
  local _, _, _, _, from = pieces_of(at - 1)
  local to, which = final, 0
  local undeclared = undeclared_by(from, to)
  if #undeclared > 4 then return undeclared end
  policy = policy == 'ask' and 'newest' or policy
  version = version - 1
  while from <= to do
    local script = ARGV[from]
    name, label = ARGV[from + 1], format('%d.%d', number, which)
    content, field, version = memory .. ':' .. name, call('HGET', memory, name), version + 1
    look(from + 3, from + 2 + tonumber(ARGV[from + 2]))
    local from_next = final + 1
    local went_well, reply = pcall(make, script)
    if not went_well then
      tell('error', '', '', '', type(reply) == 'table' and reply.err or reply)
    elseif reply[2] ~= 'ok' then
      tell(reply[2], '', '', '', reply[4], {unpack(reply, 5)})
    end
    from, which = from_next, which + 1
  end
  name, label = '', nil
  return {number, 'ok'}
end

-- What this writer made by a change in a script of its own, before it lost sight of the server, is its own.
local function adopt(since)
  survey()
  local now = field and match(field, '^%l(%x+)') or '-'
  if now >= since and now <= own then theirs = '0' end
  if theirs ~= '0' then return end
  if theirs_shift >= since and theirs_shift <= own then theirs_shift = '0' end
  note_down(false)
end

local i, reached, stop = 5, first - 1, nil
while i <= #ARGV and not stop do
  local script, takes, count = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 6])
  local from, to = i + 7, i + 6 + count
  number, name, stamp, seen, policy = reached + takes, ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  if number > done then
    content = memory .. ':' .. name
    field = call('HGET', memory, name)
    version = version + 1
    look(from, to)
    -- of a run of appends the first ones may have been made before: each of those has one value
    if done > reached then at = at + done - reached end
    local told_before = #records
    local went_well, reply = pcall(script == 'together' and together or make, script)
    if not went_well then
      reply = {number, 'error', '', type(reply) == 'table' and reply.err or reply}
    end
    local how, at_stamp = reply[2], ''
    if how == 'conflict' and script == 'swap' then
      at_stamp = theirs_stamp
      if kind == 'd' then
        local turn, set = head_of(call('HGET', content, ARGV[at + 1]))
        at_stamp = set == '' and turn or set
      end
    end
    local rest = at_stamp == '' and {unpack(reply, 5)} or {inner}
    if how ~= 'ok' and how ~= 'ask' then tell(how, '', '', at_stamp, reply[4], rest) end
    if how == 'ask' or how == 'undeclared' or how == 'conflict' and script == 'swap' then
      stop = table.concat(records, '', told_before + 1)
      for k = #records, told_before + 1, -1 do records[k] = nil end
    end
  end
  if number == done then
    if script == 'together' then
      local _, _, names_at, names = pieces_of(from)
      for k = names_at, names_at + 2 * names - 1, 2 do
        content, name, field = memory .. ':' .. ARGV[k], ARGV[k], call('HGET', memory, ARGV[k])
        look(from, to)
        adopt(match(result, '^%x+') or own)
      end
    else
      content, field = memory .. ':' .. name, call('HGET', memory, name)
      look(from, to)
      adopt(own)
    end
  end
  if not stop then reached = number end
  i = to + 1
end

local now = format('%013x', version)
told = told .. table.concat(records)
for noted, note in pairs(notes) do
  if note ~= '' then bury(noted, note) end
end
if reached == math.max(done, first - 1) then
  -- nothing new was taken, and what was said of the last number may still have to be said again
  if entry then call('HSET', memory, writer, entry) else call('HDEL', memory, writer) end
else
  call('HSET', memory, writer, format('%d %013x batch %-13s', reached, version, own) .. told)
end
call('HSET', memory, '_version', now)
if ends then
  for k = 3, #KEYS do call('PEXPIREAT', KEYS[k], ends) end
end
if call('HEXISTS', memory, '_created') == 0 then call('EXPIRE', memory, 604800) end
return {stop and 'stopped' or 'ok', format('%d', reached), told, now, status, result, stop or ''}
