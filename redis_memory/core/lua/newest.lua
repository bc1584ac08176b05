-- While its change waited, others may have set the very element; a change at once means what is there.
local function is_seen() return true end

-- Is the caller's copy the newest state? What it lacks is told otherwise.
local function is_newest()
  catch_up()
  return not missed
end
