-- Put found spans into a route's backlog, in the order given, up to its size.
-- KEYS[1]  backlog    ZSET "<trace>:<span>" -> row id
-- KEYS[2]  claimed    ZSET "<trace>:<span>" -> ms when the claim runs out
-- KEYS[3]  routes     SET  route names
-- KEYS[4]  uncertain  ZSET "<trace>:<span>" -> rank
-- KEYS[5]  unjudged   ZSET "<trace>:<span>" -> row id
-- ARGV[1]  how many may wait
-- ARGV[2]  the channel that wakes who waits
-- ARGV[3]  the route's name
-- ARGV[4..] "<trace>:<span>", row id or rank, 1 when it has a card already, the number of the key it goes to; and so on
-- returns  how many were added; how many are left from the first that did not fit
local most = tonumber(ARGV[1])
local room = most - redis.call('ZCARD', KEYS[1]) - redis.call('ZCARD', KEYS[4])
local added, rest = 0, 0
local function waits(m)
  return redis.call('ZSCORE', KEYS[1], m) or redis.call('ZSCORE', KEYS[2], m) or redis.call('ZSCORE', KEYS[4], m) or redis.call('ZSCORE', KEYS[5], m)
end
for i = 4, #ARGV, 4 do
  local to = tonumber(ARGV[i + 3])
  if ARGV[i + 2] ~= '1' and not waits(ARGV[i]) then
    if to ~= 5 and room <= 0 then
      rest = (#ARGV - i + 1) / 4
      break
    end
    redis.call('ZADD', KEYS[to], ARGV[i + 1], ARGV[i])
    if to ~= 5 then
      room = room - 1
      added = added + 1
    end
  end
end
-- Those that no judge sees do not keep others from being looked at: the oldest go.
redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -most - 1)
redis.call('SADD', KEYS[3], ARGV[3])
if added > 0 then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return {added, rest}
