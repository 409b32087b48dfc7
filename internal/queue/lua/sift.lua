-- Take spans that a judge has seen by now off those that wait for it: into the uncertain stream, or away.
-- KEYS[1]  unjudged   ZSET "<trace>:<span>" -> row id
-- KEYS[2]  uncertain  ZSET "<trace>:<span>" -> rank
-- KEYS[3]  backlog    ZSET "<trace>:<span>" -> row id
-- ARGV[1]  how many may wait
-- ARGV[2]  the channel that wakes who waits
-- ARGV[3]  the route's name
-- ARGV[4..] "<trace>:<span>", rank or -1 when it goes; and so on
-- returns  how many were put into the uncertain stream; how many went
local room = tonumber(ARGV[1]) - redis.call('ZCARD', KEYS[2]) - redis.call('ZCARD', KEYS[3])
local added, went = 0, 0
for i = 4, #ARGV, 2 do
  local rank = tonumber(ARGV[i + 1])
  -- One without a place stays where it is and is looked at again.
  if rank < 0 then
    went = went + redis.call('ZREM', KEYS[1], ARGV[i])
  elseif room > 0 and redis.call('ZREM', KEYS[1], ARGV[i]) == 1 then
    redis.call('ZADD', KEYS[2], ARGV[i + 1], ARGV[i])
    room = room - 1
    added = added + 1
  end
end
if added > 0 then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return {added, went}
