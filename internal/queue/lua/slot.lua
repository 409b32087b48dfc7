-- Take the present slot of a route's schedule, once.
-- KEYS[1]  slot  STRING number of the last slot that was taken
-- ARGV[1]  length of a slot, ms
-- returns  1 taken by the caller, 0 taken before
local t = redis.call('TIME')
local slot = math.floor((t[1] * 1000 + math.floor(t[2] / 1000)) / tonumber(ARGV[1]))
if tonumber(redis.call('GET', KEYS[1]) or -1) >= slot then return 0 end
redis.call('SET', KEYS[1], string.format('%.0f', slot), 'PX', 2 * tonumber(ARGV[1]) + 1000)
return 1
