-- The head of a replay: changes that waited for the server, in their order, as one step. KEYS: memory,
-- memory, stamps, then the contents of what is changed. ARGV: writer, nothing, the first number, the
-- last one, then for each change: script, how many numbers it takes, name, stamp, the newest version that
-- its writer had seen, what decides a conflict (newest, mine, theirs, ask), how many arguments, those.
--
-- Answers how it went, the last number taken, what is to be told of changes, the version, the status and
-- result of a single change that had been taken before, and what stopped the replay. What is to be told
-- is stored with the number, so that an answer that gets lost is given again.
local call, match, format, sub = redis.call, string.match, string.format, string.sub
local memory = KEYS[1]
local writer, first, last = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local tag = sub(writer, -8)

local stored = call('HMGET', memory, writer, '_version', '_epoch', '_until')
local entry, ends = stored[1], stored[4]
local number_done, made, status, result = match(entry or '', '^(%d+) (%x+) (%l+) (.*)$')
local done, own, told = tonumber(number_done or 0), '', ''
-- the version that this writer made last by a change in a script of its own; behind it, in the entry of a
-- replay, what was told of that
if status == 'ok' then own = made end
if status == 'batch' then own, told, status, result = sub(result, 1, 13), sub(result, 14), '', '' end
if done < first then told, status, result = '', '', '' end
if done < first - 1 then
  return {'gap', format('%d', done), '', stored[2] or '', entry and '' or call('HGET', memory, '_created') or ''}
end
if done >= last then return {'ok', number_done, told, stored[2] or '', status, result, ''} end

if not entry then
  -- as number.lua has it
  if LACKS_KEY and call('HEXISTS', memory, '_created') == 1 then
    return {'encrypted'}
  end
  call('PUBLISH', memory .. '~feed', '')
end
local time = call('TIME')
local version, newest = time[1] * 1000000 + time[2], stored[2] and tonumber(stored[2], 16)
if newest and newest >= version then version = newest end
-- before anything else, so that a refusal by the server leaves nothing half done
call('HSET', memory, writer, format('%d %013x batch %-13s', last, version, own))

-- of the change in hand
local number, name, content, field, stamp, seen, policy
