-- Claim the next span of a route for one replica.
-- KEYS[1]  backlog  ZSET "<trace>:<span>" -> row id
-- KEYS[2]  claimed  ZSET "<trace>:<span>" -> ms when the claim runs out
-- KEYS[3]  claims   HASH "<trace>:<span>" -> claim: t turn, r row, s first claimed (ms), a 1 when it may have been posted, u 1 when it is of the uncertain stream
-- KEYS[4]  open     ZSET "<trace>:<span>" -> ms when posted
-- KEYS[5]  seq      STRING last fencing token
-- KEYS[6]  built    HASH   route -> until when its cards are known here
-- KEYS[7]  uncertain ZSET "<trace>:<span>" -> rank
-- KEYS[8]  taken    HASH   stream -> claims from it while both had some
-- ARGV[1]  cards that may be open or claimed at a time; 0: no limit
-- ARGV[2]  1: newest of the backlog first, 0: oldest first
-- ARGV[3]  length of the lease, ms
-- ARGV[4]  the route's name
-- ARGV[5]  share of the backlog's among what is claimed, the rest is of the uncertain stream; -1: the backlog first
-- returns  "<trace>:<span>" and the claim, or nil when there is nothing to claim or no room; {0} when the route's cards are not known here
if redis.call('HEXISTS', KEYS[6], ARGV[4]) == 0 then return {0} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ends = now + tonumber(ARGV[3])

local late = redis.call('ZRANGE', KEYS[2], '-inf', now, 'BYSCORE', 'LIMIT', 0, 1)[1]
if late then
  local c = cjson.decode(redis.call('HGET', KEYS[3], late) or '{"t":0,"r":0,"s":0,"a":1}')
  local given = {t = redis.call('INCR', KEYS[5]), r = c.r, s = c.s, a = c.a, u = c.u}
  -- A claim that nobody put back may have been posted by its owner.
  redis.call('HSET', KEYS[3], late, cjson.encode({t = given.t, r = c.r, s = c.s, a = 1, u = c.u}))
  redis.call('ZADD', KEYS[2], ends, late)
  return {late, cjson.encode(given)}
end

local limit = tonumber(ARGV[1])
if limit > 0 and redis.call('ZCARD', KEYS[4]) + redis.call('ZCARD', KEYS[2]) >= limit then return nil end

local busy = {}
for _, m in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do busy[string.match(m, '^[^:]*')] = true end
-- The first of the backlog (1) or the uncertain stream (7) that may be claimed now.
local function first(at, newest)
  local list
  if newest then list = redis.call('ZREVRANGE', KEYS[at], 0, 99) else list = redis.call('ZRANGE', KEYS[at], 0, 99) end
  for _, m in ipairs(list) do
    if not busy[string.match(m, '^[^:]*')] then return m end
  end
end
local plain, uncertain, share = first(1, ARGV[2] == '1'), first(7, true), tonumber(ARGV[5])
local m, at, u = plain, 1, 0
if plain and uncertain and share >= 0 then
  local control = tonumber(redis.call('HGET', KEYS[8], 'control') or 0)
  local all = control + tonumber(redis.call('HGET', KEYS[8], 'uncertain') or 0)
  if control >= share * (all + 1) then m = nil end
  redis.call('HINCRBY', KEYS[8], m and 'control' or 'uncertain', 1)
end
if not m then m, at, u = uncertain, 7, 1 end
if not m then return nil end
local row = tonumber(redis.call('ZSCORE', KEYS[at], m))
if u == 1 then row = row % 4398046511104 end -- of a rank (backlog.go) the row id
redis.call('ZREM', KEYS[at], m)
redis.call('ZADD', KEYS[2], ends, m)
local turn = redis.call('INCR', KEYS[5])
redis.call('HSET', KEYS[3], m, cjson.encode({t = turn, r = row, s = now, a = 1, u = u}))
return {m, cjson.encode({t = turn, r = row, s = now, a = 0, u = u})}
