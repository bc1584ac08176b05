-- The arguments of one change of several: those from `from` to `to`.
local function look(from, to)
  known, operation, at, final = ARGV[from], ARGV[from + 1], from + 1, to
  kind, base, shift, inner, size, missed, elements = nil
  if field then
    kind, base, shift, inner, size = match(field, '^([lde])%x+ (%x+) (%x+) (%x+) (%d+);$')
    size = tonumber(size)
  end
end
