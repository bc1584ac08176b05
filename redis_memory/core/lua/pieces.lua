-- Several changes as one: in the arguments behind `from` stand how many checks, those as triples (kind,
-- name, word); how many names, those as pairs (name, descriptor or *); then for each change its script,
-- its name, how many arguments, those. The places where the three begin, and their numbers.
local function pieces_of(from)
  local checks, checks_at = tonumber(ARGV[from + 2]), from + 3
  local names_at = checks_at + 3 * checks + 1
  local names = tonumber(ARGV[names_at - 1])
  return checks_at, checks, names_at, names, names_at + 2 * names
end

-- The containers that a `clear` among the changes would leave lying, as their keys were not declared.
local function undeclared_by(from, to)
  local found, has_clear = {number, 'undeclared', '', ''}, false
  while from <= to do
    has_clear = has_clear or ARGV[from] == 'clear'
    from = from + 3 + tonumber(ARGV[from + 2])
  end
  if has_clear then declared_keys(found) end
  return found
end
