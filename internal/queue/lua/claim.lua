-- Claim the next span of a route for one replica.
-- KEYS[1]  backlog  ZSET "<trace>:<span>" -> row id
-- KEYS[2]  claimed  ZSET "<trace>:<span>" -> ms when the claim runs out
-- KEYS[3]  claims   HASH "<trace>:<span>" -> claim: t turn, r row, s first claimed (ms), a 1 when it may have been posted
-- KEYS[4]  open     ZSET "<trace>:<span>" -> ms when posted
-- KEYS[5]  seq      STRING last fencing token
-- KEYS[6]  built    HASH   route -> until when its cards are known here
-- ARGV[1]  cards that may be open or claimed at a time; 0: no limit
-- ARGV[2]  1: newest of the backlog first, 0: oldest first
-- ARGV[3]  length of the lease, ms
-- ARGV[4]  the route's name
-- returns  "<trace>:<span>" and the claim, or nil when there is nothing to claim or no room; {0} when the route's cards are not known here
if redis.call('HEXISTS', KEYS[6], ARGV[4]) == 0 then return {0} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ends = now + tonumber(ARGV[3])

local late = redis.call('ZRANGE', KEYS[2], '-inf', now, 'BYSCORE', 'LIMIT', 0, 1)[1]
if late then
  local c = cjson.decode(redis.call('HGET', KEYS[3], late) or '{"t":0,"r":0,"s":0,"a":1}')
  local given = {t = redis.call('INCR', KEYS[5]), r = c.r, s = c.s, a = c.a}
  -- A claim that nobody put back may have been posted by its owner.
  redis.call('HSET', KEYS[3], late, cjson.encode({t = given.t, r = c.r, s = c.s, a = 1}))
  redis.call('ZADD', KEYS[2], ends, late)
  return {late, cjson.encode(given)}
end

local limit = tonumber(ARGV[1])
if limit > 0 and redis.call('ZCARD', KEYS[4]) + redis.call('ZCARD', KEYS[2]) >= limit then return nil end

local busy = {}
for _, m in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do busy[string.match(m, '^[^:]*')] = true end
local next
if ARGV[2] == '1' then
  next = redis.call('ZREVRANGE', KEYS[1], 0, 99)
else
  next = redis.call('ZRANGE', KEYS[1], 0, 99)
end
for _, m in ipairs(next) do
  if not busy[string.match(m, '^[^:]*')] then
    local row = tonumber(redis.call('ZSCORE', KEYS[1], m))
    redis.call('ZREM', KEYS[1], m)
    redis.call('ZADD', KEYS[2], ends, m)
    local turn = redis.call('INCR', KEYS[5])
    redis.call('HSET', KEYS[3], m, cjson.encode({t = turn, r = row, s = now, a = 1}))
    return {m, cjson.encode({t = turn, r = row, s = now, a = 0})}
  end
end
return nil
