-- Which of these attributes are still as the caller knows them? KEYS: memory. ARGV: pairs of name and
-- descriptor. Answers 1 or 0 for each.
local answer = {}
for i = 1, #ARGV, 2 do
  local field = redis.call('HGET', KEYS[1], ARGV[i])
  answer[#answer + 1] = field and string.sub(field, 1, #ARGV[i + 1]) == ARGV[i + 1] and 1 or 0
end
return answer
