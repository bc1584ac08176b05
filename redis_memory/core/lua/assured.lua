-- One change of several, of which all has been checked beforehand: it finds what its caller saw.
local is_late = false
is_assured = true

local function shifted() return false end
local function is_seen() return true end
local function is_newest() return true end
