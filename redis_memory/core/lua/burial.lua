-- Note in `stamps` when something was deleted: who assigned it earlier, and arrives later, has lost.
-- It forgets the older half of too many, and all of them 7 days after the last one.
local function bury(what, note)
  call('HSET', stamps, what, note)
  call('EXPIRE', stamps, 604800)
  if call('HLEN', stamps) <= 1000 then return end
  local fields, notes = call('HGETALL', stamps), {}
  for i = 2, #fields, 2 do notes[#notes + 1] = fields[i] end
  table.sort(notes)
  local median = notes[math.floor(#notes / 2)]
  for i = 2, #fields, 2 do
    if fields[i] <= median then call('HDEL', stamps, fields[i - 1]) end
  end
end
