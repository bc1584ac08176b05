-- Make the change; an error of the server inside it takes the number too, or it would be tried forever.
local done, reply = pcall(CHANGE)
if done then
  -- what was made just now ends with all the rest
  if ends then
    call('PEXPIREAT', content, ends)
    if KEYS[3] then call('PEXPIREAT', KEYS[3], ends) end
  end
  return reply
end
local text = type(reply) == 'table' and reply.err or reply
take('error', text)
return {number, 'error', '', text}
