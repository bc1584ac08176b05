-- The items of a dict. A value carries the turn in which its key was inserted, when it was set if that
-- was later, and the key's own spelling when it is not canonical (1.0 and True are the key 1):
-- `<turn>;`, `<turn>,<stamp>;` or either with `:<n>:<key>` for `;`.

-- The turn of an item, its stamp ('' when the turn is it), and what else lies before its value.
local function head_of(item)
  local turn, stamp, ending = match(item, '^(%x+),?([%x~]*)([;:])')
  if ending == ';' then return turn, stamp, ';' end
  local length = match(item, '^[%x,~]+:(%d+):')
  local before = #turn + (stamp == '' and 0 or #stamp + 1)
  return turn, stamp, string.sub(item, before + 1, before + #length + 2 + tonumber(length))
end

-- An item with another value, set now.
local function item_with(old, value)
  local turn, _, ending = head_of(old)
  return turn .. ',' .. stamped() .. ending .. value
end
