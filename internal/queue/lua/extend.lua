-- Hold leases longer, those that are still the caller's.
-- KEYS[1]  due    ZSET  judgement key -> ms when it is due next
-- KEYS[2]  lease  HASH  judgement key -> "turn:ms" of the lease that is out
-- ARGV[1]  length of the lease from now on, ms
-- ARGV[2..] judgement key, turn; and so on
-- returns  how many were still the caller's
local t = redis.call('TIME')
local ends = t[1] * 1000 + math.floor(t[2] / 1000) + tonumber(ARGV[1])
local n = 0
for i = 2, #ARGV, 2 do
  local lease = redis.call('HGET', KEYS[2], ARGV[i])
  if lease and string.match(lease, '^(%d+):') == ARGV[i + 1] then
    redis.call('HSET', KEYS[2], ARGV[i], string.format('%s:%.0f', ARGV[i + 1], ends))
    redis.call('ZADD', KEYS[1], ends, ARGV[i])
    n = n + 1
  end
end
return n
