-- With its first attribute a memory begins, and no longer expires as one without attributes does.
local function appear()
  if not field and call('HSETNX', memory, '_created', format('%013x', version)) == 1 then
    if ends then call('PEXPIREAT', memory, ends) else call('PERSIST', memory) end
  end
end
