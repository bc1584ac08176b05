-- One change of several, of which all has been checked beforehand: it finds what its caller saw.
local is_late = false
is_assured = true

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

local function shifted() return false end
local function is_seen() return true end
local function is_newest() return true end
