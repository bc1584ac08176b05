-- Store a value, or delete the attribute, while it is what the caller expects. The operation `as`: while it
-- is in the state that the caller knows; `equal`: while it is a scalar of the first argument's kind and
-- bytes. Behind that: kind and elements of the new value, or x and the seconds that writers outlive a
-- memory without attributes.
local function exchange()
  local is_same
  if operation == 'as' then
    is_same = known ~= '' and string.sub(field or '', 1, #known) == known
  else
    local letter, bytes = match(field or '', '^([nv])%x+;(.*)$')
    is_same = letter and letter .. bytes == ARGV[at + 1]
  end
  if not is_same then return refuse('conflict') end
  known, operation, at = '', 'assign', at + 1
  if ARGV[at + 1] ~= 'x' then return assign() end
  at = at + 1
  return delete()
end
