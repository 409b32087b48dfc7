-- Lease the message that has been due longest for being drawn anew.
-- KEYS[1]  redraw     ZSET what -> ms when it is due
-- KEYS[2]  redrawing  HASH what -> ms when the lease of who draws it ends
-- ARGV[1]  length of the lease, ms
-- returns  what, ms since when it is due, ms when the lease ends (the fencing token); nil when nothing is due
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local first = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, 1)[1]
if not first then return nil end
local due = redis.call('ZSCORE', KEYS[1], first)
local ends = now + tonumber(ARGV[1])
redis.call('ZADD', KEYS[1], ends, first)
redis.call('HSET', KEYS[2], first, string.format('%.0f', ends))
return {first, due, ends}
