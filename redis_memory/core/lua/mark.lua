-- Note to which schemas a class of memories has brought the memory. The operation `first` does so only
-- while there are no attributes. Argument: the marks. It is no attribute, and the feed is not told.
local function mark()
  if operation ~= 'first' or call('HEXISTS', memory, '_created') == 0 then
    call('HSET', memory, name, ARGV[at + 1])
  end
  return {number, 'ok'}
end
