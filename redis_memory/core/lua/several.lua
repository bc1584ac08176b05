-- One change of several in a script: the number was taken for all of them, and nobody's copy follows.
local function refuse(status, result)
  return {number, status, field or '', result or ''}
end

local function refuse_absent()
  return refuse('absent')
end

local function refuse_there(item)
  return refuse('exists', item)
end

local function begin(_, steps)
  version = version + (steps or 1) - 1
  appear()
end
