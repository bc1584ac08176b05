-- Make the change; an error of the server inside it takes the number too, or it would be tried forever.
local done, reply = pcall(CHANGE)
if done then return reply end
local text = type(reply) == 'table' and reply.err or reply
take('error', text)
return {number, 'error', '', text}
