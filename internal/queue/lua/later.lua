-- Give leases back: due again after a while, one more try counted.
-- KEYS[1]  due    ZSET  judgement key -> ms when it is due next
-- KEYS[2]  turn   HASH  judgement key -> fencing token
-- KEYS[3]  lease  HASH  judgement key -> "turn:ms" of the lease that is out
-- KEYS[4]  tries  HASH  judgement key -> failed deliveries
-- ARGV[1]  after how many ms
-- ARGV[2..] judgement key, turn; and so on
-- returns  how many were still the caller's
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local n = 0
for i = 2, #ARGV, 2 do
  local id, turn = ARGV[i], ARGV[i + 1]
  local lease = redis.call('HGET', KEYS[3], id)
  if lease and string.match(lease, '^(%d+):') == turn then
    redis.call('HDEL', KEYS[3], id)
    if redis.call('HGET', KEYS[2], id) == turn then
      redis.call('HINCRBY', KEYS[4], id, 1)
      redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), id)
      n = n + 1
    else
      redis.call('ZADD', KEYS[1], now, id)
    end
  end
end
return n
