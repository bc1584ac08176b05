-- Storing a container over another makes indexes into lists inside it mean other elements.
local function replaced_by(value)
  local byte = string.byte(value, 1)
  local is_map_or_array = byte >= 0x80 and byte <= 0x9f or byte >= 0xdc and byte <= 0xdf
  local is_extension = byte >= 0xc7 and byte <= 0xc9 or byte >= 0xd4 and byte <= 0xd8
  -- of an encrypted value a capital letter tells
  local is_sealed = byte == 0xc1 and string.match(value, '^..%u')
  if is_map_or_array or is_extension or is_sealed then inner = format('%013x', version) end
end
