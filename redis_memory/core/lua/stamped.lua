-- When a change was made, as it is noted: now.
local function stamped()
  return format('%013x', version)
end
