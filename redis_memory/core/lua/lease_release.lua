-- Give up a lease, or a place in the queue. Answers whether the lease was held until now, and when the
-- first token of the memory was given.
local was_kept_for_me = place == 1 and holder == '-'
if place then table.remove(queue, place) end
if holder == id or was_kept_for_me then
  hand_over()
elseif place then
  store()
end
return {is_mine and 'ok' or 'lost', birth}
