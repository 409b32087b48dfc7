-- Give up a claim, if it is still the caller's.
-- KEYS[1]  claimed  ZSET "<trace>:<span>" -> ms when the claim runs out
-- KEYS[2]  claims   HASH "<trace>:<span>" -> claim, JSON with its turn in "t"
-- ARGV[1]  "<trace>:<span>"
-- ARGV[2]  the caller's turn
-- returns  1 given up, 0 not the caller's
local c = redis.call('HGET', KEYS[2], ARGV[1])
if not c or cjson.decode(c).t ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
