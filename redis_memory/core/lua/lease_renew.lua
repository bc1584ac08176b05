-- Keep a lease for ARGV[3] microseconds from now on, if it is held still.
if not is_mine then return {'lost'} end
ends = now + tonumber(ARGV[3])
store()
if not stored[3] then call('EXPIRE', memory, 604800) end
return {'ok'}
