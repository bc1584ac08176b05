-- The arguments of a script of its own. ARGV[4]: the descriptor of the caller's copy, '' when it holds
-- none. ARGV[5]: the operation. Its arguments lie behind `at`, up to `final`.
known, operation, at, final = ARGV[4], ARGV[5], 5, #ARGV
if field then
  kind, base, shift, inner, size = match(field, '^([lde])%x+ (%x+) (%x+) (%x+) (%d+);$')
  size = tonumber(size)
end
