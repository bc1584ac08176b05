-- What a change in a replay sees of others' work. A replayed change leaves a note in `stamps` for its
-- attribute: its stamp, the version it made, and, since what this writer did itself is no conflict, the
-- version and the shift that others had made before, and the version at which this writer assigned
-- the whole. A note speaks of the present as long as the version is still the one that it names.
local notes, is_late = {}, true
passed_over = {}
local theirs, theirs_stamp, theirs_shift, own_whole

local function survey()
  if notes[name] == nil then notes[name] = call('HGET', stamps, name) or '' end
  local noted, by, made, from, at_shift, from_shift, whole =
    match(notes[name], '^(%x+)~(%x+) (%S+) (%x+) (%x+) (%x+) (%x+)$')
  local now = field and match(field, '^%l(%x+)') or '-'
  own_whole = by == tag and whole or '0'
  theirs, theirs_stamp, theirs_shift = now, now, shift or '0'
  if now == '-' then
    theirs = match(notes[name], '^%x+') or '0'
    theirs_stamp = theirs
  end
  if made == now then
    theirs_stamp = noted
    if by == tag then
      theirs = from
      if at_shift == theirs_shift then theirs_shift = from_shift end
    end
  elseif now == own then
    theirs = '0'
    if theirs_shift == now then theirs_shift = '0' end
  end
end

-- Note the change that was just made; one of the whole attribute leaves nothing of others in it.
local function note_down(replaces_all)
  local now = call('HGET', memory, name)
  local made = now and match(now, '^%l(%x+)') or '-'
  local moved = now and match(now, '^l%x+ %x+ (%x+)') or '0'
  local from, from_shift = theirs, theirs_shift
  if replaces_all then from, from_shift, own_whole = '0', '0', format('%013x', version) end
  notes[name] = stamp .. '~' .. tag .. ' ' .. table.concat({made, from, moved, from_shift, own_whole}, ' ')
end

-- May the index mean another element because of what others did?
local function shifted()
  return theirs_shift > (match(known, '^l(%x+) ') or '0')
end

-- Is the element still the one that was seen, if it is known which one that was?
local function is_seen(index, element)
  return not element or call('LINDEX', content, index) == element
end

local function is_newest()
  return theirs <= (match(known, '^l(%x+) ') or '0')
end

local function stamped()
  return stamp .. '~' .. tag
end
