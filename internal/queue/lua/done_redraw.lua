-- Give a redraw back, if it is still the caller's.
-- KEYS[1]  redraw     ZSET what -> ms when it is due
-- KEYS[2]  redrawing  HASH what -> ms when the lease of who draws it ends
-- KEYS[3]  remark     HASH what -> ms when it is due after that
-- ARGV[1]  what
-- ARGV[2]  the caller's token
-- ARGV[3]  ms when it is due again; 0: finished
-- returns  1 given back, 0 not the caller's
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
local again = tonumber(ARGV[3])
local marked = tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or 0)
redis.call('HDEL', KEYS[3], ARGV[1])
if marked > 0 and (again == 0 or marked < again) then again = marked end
if again > 0 then
  redis.call('ZADD', KEYS[1], again, ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return 1
