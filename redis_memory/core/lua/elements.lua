local function push(from)
  for i = from, final, 7000 do  -- unpack fails beyond 8,000 items
    call('RPUSH', content, unpack(ARGV, i, math.min(i + 6999, final)))
  end
end
