-- Take the present slot of a route's schedule, once.
-- KEYS[1]  slot  STRING "number:token" of the last slot that was taken
-- ARGV[1]  length of a slot, ms
-- ARGV[2]  the call's token: sent again after a lost answer, it is told the same
-- returns  1 taken by the caller, 0 taken before
local t = redis.call('TIME')
local slot = math.floor((t[1] * 1000 + math.floor(t[2] / 1000)) / tonumber(ARGV[1]))
local last = redis.call('GET', KEYS[1]) or ''
if tonumber(string.match(last, '^%d+') or -1) >= slot then
  if string.match(last, ':(.*)$') == ARGV[2] then return 1 end
  return 0
end
redis.call('SET', KEYS[1], string.format('%.0f:%s', slot, ARGV[2]), 'PX', 2 * tonumber(ARGV[1]) + 1000)
return 1
