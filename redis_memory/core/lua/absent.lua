-- What the change is about is not there; whose copy has it is told what else it lacks.
local function refuse_absent()
  if known ~= '' then catch_up() end
  return refuse('absent')
end
