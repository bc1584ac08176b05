-- Add to a number; a missing one counts as 0. Argument: the number to add, as text.
local function increment()
  local by, current = ARGV[at + 1], '0'
  if field then
    current = match(field, '^n%x+;(.*)$')
    if not current then return refuse('kind') end
  end
  local is_float = match(current .. by, '[.e]')
  -- beyond 15 digits a double does not hold every integer: the caller adds those itself
  local is_large = #current > 16 or #by > 16
  local sum = tonumber(current) + tonumber(by)
  if is_float then is_large = sum ~= sum or math.abs(sum) == math.huge
  else is_large = is_large or math.abs(sum) >= 1e15 end
  if is_large then return refuse('large', current) end
  local text = format(is_float and '%.17g' or '%d', sum)
  if is_float and not match(text, '[.e]') then text = text .. '.0' end
  begin(text)
  return describe_scalar('n', text, text)
end
