-- Note until when a route's cards are known, if what is noted is still what was read.
-- KEYS[1]  built  HASH route -> "ms:run:epoch"
-- ARGV[1]  the route's name
-- ARGV[2]  what was read
-- ARGV[3]  what shall stand there
-- returns  1 noted, 0 something else stands there by now, or nothing
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
