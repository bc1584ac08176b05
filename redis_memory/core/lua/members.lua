-- The elements of a set: a hash from each one's canonical form to its spelling ('' when the same).
local function add(from)
  for i = from, final, 2 do size = size + call('HSETNX', content, ARGV[i], ARGV[i + 1]) end
end
