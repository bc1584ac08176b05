-- Delete a key of the old layout if it still holds what was brought. KEYS: the key. ARGV: its value.
-- Answers 'ok', 'gone' or 'changed'. No worker needs it, nor the right to GET.
local held = redis.call('GET', KEYS[1])
if not held then return 'gone' end
if held ~= ARGV[1] then return 'changed' end
redis.call('DEL', KEYS[1])
return 'ok'
