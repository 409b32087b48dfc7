-- Return a claim that surely was not posted by the caller; it is claimed again after a while.
-- KEYS[1]  claimed  ZSET "<trace>:<span>" -> ms when the claim runs out
-- KEYS[2]  claims   HASH "<trace>:<span>" -> claim, JSON with its turn in "t"
-- ARGV[1]  "<trace>:<span>"
-- ARGV[2]  the caller's turn
-- ARGV[3]  after how many ms it may be claimed again
-- ARGV[4]  1 when an owner before the caller may have posted it
-- returns  1 put back, 0 not the caller's
local c = redis.call('HGET', KEYS[2], ARGV[1])
if not c then return 0 end
c = cjson.decode(c)
if c.t ~= tonumber(ARGV[2]) then return 0 end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[2], ARGV[1], cjson.encode({t = c.t, r = c.r, s = c.s, a = tonumber(ARGV[4]), u = c.u}))
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
return 1
