-- Tell the feed of a change: writer, what happened (s set, a appended one, m appended many, c changed,
-- d deleted, x cleared), length of the name, the name, its descriptor (of what is gone only the
-- version), and what was set or appended, unless that is long. Who is told of no value reads it.
local function announce(what, descriptor, payload)
  if #payload > 16384 then payload = '' end
  call('PUBLISH', memory .. '~feed', writer .. what .. #name .. ':' .. name .. descriptor .. payload)
end
