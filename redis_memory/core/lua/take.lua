-- Store the number with what the caller is told, without moving the version. A key that holds
-- nothing but writers does not stay forever.
local function take(status, result)
  call('HSET', memory, writer, number .. format(' %013x ', version) .. status .. ' ' .. result)
  if not stored[2] then call('EXPIRE', memory, 604800) end
end
