-- May the caller's index mean another element by now?
local function shifted()
  local seen = match(known, '^l(%x+) ')
  return not seen or tonumber(shift, 16) > tonumber(seen, 16)
end
