-- Put found spans into a route's backlog, in the order given, up to its size.
-- KEYS[1]  backlog  ZSET "<trace>:<span>" -> row id
-- KEYS[2]  claimed  ZSET "<trace>:<span>" -> ms when the claim runs out
-- KEYS[3]  routes   SET  route names
-- ARGV[1]  how many may wait
-- ARGV[2]  the channel that wakes who waits
-- ARGV[3]  the route's name
-- ARGV[4..] "<trace>:<span>", row id, 1 when it has a card already; and so on
-- returns  how many were added; how many are left from the first that did not fit
local room = tonumber(ARGV[1]) - redis.call('ZCARD', KEYS[1])
local added, rest = 0, 0
for i = 4, #ARGV, 3 do
  if ARGV[i + 2] ~= '1' and not redis.call('ZSCORE', KEYS[1], ARGV[i]) and not redis.call('ZSCORE', KEYS[2], ARGV[i]) then
    if room <= 0 then
      rest = (#ARGV - i + 1) / 3
      break
    end
    redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i])
    room = room - 1
    added = added + 1
  end
end
redis.call('SADD', KEYS[3], ARGV[3])
if added > 0 then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return {added, rest}
