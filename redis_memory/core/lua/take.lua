-- Store the number with what the caller is told, without moving the version. A key that holds
-- nothing but writers does not stay forever.
local function take(status, result)
  call('HSET', memory, writer, number .. ' ' .. time[1] .. ' ' .. status .. ' ' .. result)
  if not stored[2] then call('EXPIRE', memory, 604800) end
end

-- Run `change`; an error of the server inside it takes the number too, or it would be tried forever.
local function guarded(change)
  local done, reply = pcall(change)
  if done then return reply end
  local text = type(reply) == 'table' and reply.err or reply
  take('error', text)
  return {number, 'error', '', text}
end
