-- Lease the judgements that are due, oldest first.
-- KEYS[1]  due    ZSET  judgement key -> ms when it is due next
-- KEYS[2]  body   HASH  judgement key -> judgement, JSON
-- KEYS[3]  turn   HASH  judgement key -> fencing token
-- KEYS[4]  lease  HASH  judgement key -> "turn:ms" of the lease that is out
-- KEYS[5]  tries  HASH  judgement key -> failed deliveries
-- KEYS[6]  seq    STRING last fencing token
-- ARGV[1]  how many at most
-- ARGV[2]  length of the lease, ms
-- returns  judgement key, judgement, turn, tries; and so on
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ends = now + tonumber(ARGV[2])
local out = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  local b = redis.call('HGET', KEYS[2], id)
  if b then
    local turn = redis.call('INCR', KEYS[6])
    redis.call('HSET', KEYS[3], id, turn)
    redis.call('HSET', KEYS[4], id, string.format('%d:%.0f', turn, ends))
    redis.call('ZADD', KEYS[1], ends, id)
    out[#out + 1] = id
    out[#out + 1] = b
    out[#out + 1] = turn
    out[#out + 1] = tonumber(redis.call('HGET', KEYS[5], id) or 0)
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return out
