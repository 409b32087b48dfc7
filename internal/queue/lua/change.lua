-- Replace a thread, if it is still what the caller read, and everything that goes with it.
-- KEYS[1]   thread     STRING the stored thread
-- KEYS[2]   open       ZSET   "<trace>:<span>" -> ms when posted
-- KEYS[3]   due        ZSET   judgement key -> ms when it is due next
-- KEYS[4]   body       HASH   judgement key -> judgement, JSON with its click in "at"
-- KEYS[5]   turn       HASH   judgement key -> fencing token
-- KEYS[6]   lease      HASH   judgement key -> "turn:ms" of the lease that is out
-- KEYS[7]   tries      HASH   judgement key -> failed deliveries
-- KEYS[8]   dead       HASH   judgement key -> dead letter, JSON with the judgement in "body"
-- KEYS[9]   redraw     ZSET   what -> ms when it is due
-- KEYS[10]  redrawing  HASH   what -> ms when the lease of who draws it ends
-- KEYS[11]  remark     HASH   what -> ms when it is due after that
-- KEYS[12]  claimed    ZSET   "<trace>:<span>" -> ms when the claim runs out
-- KEYS[13]  claims     HASH   "<trace>:<span>" -> claim, JSON with its turn in "t"
-- KEYS[14]  routes     SET    route names
-- KEYS[15]  seq        STRING last fencing token
-- KEYS[16]  mine       ZSET   what the reviewer of this change judged -> ms; untouched without e.mine
-- KEYS[17]  history    STREAM what happened to judgements
-- KEYS[18]  tally      HASH   "<rubric>|<label>" -> cards of that verdict
-- KEYS[19..] the keys to set to ARGV[6..], as many as the effects say, then those to delete
-- ARGV[1]   the thread as it was read; "" when there was none
-- ARGV[2]   the thread as it shall be
-- ARGV[3]   the effects, JSON (threads.go)
-- ARGV[4]   the channel that wakes who waits
-- ARGV[5]   the route's name
-- ARGV[6..] the values of the keys to set
-- returns   1 written, or written already by an earlier try; 0 the thread is another by now; -1 the claim is another's
local was = redis.call('GET', KEYS[1]) or ''
if was ~= ARGV[1] then
  -- The client sends a script again when its answer was lost.
  if was == ARGV[2] then return 1 end
  return 0
end
local e = cjson.decode(ARGV[3])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

-- The history is appended to in the same step as what it tells of.
local function tell(what, id, at, ...)
  redis.call('XADD', KEYS[17], 'MINID', '~', string.format('%.0f', now - e.ttl), '*', 'what', what, 'key', id, 'at', string.format('%.0f', at), ...)
  redis.call('PEXPIRE', KEYS[17], e.ttl)
end

if e.claim then
  local c = redis.call('HGET', KEYS[13], e.claim[1])
  if not c or cjson.decode(c).t ~= e.claim[2] then return -1 end
  redis.call('HDEL', KEYS[13], e.claim[1])
  redis.call('ZREM', KEYS[12], e.claim[1])
end

redis.call('SET', KEYS[1], ARGV[2], 'PX', e.ttl)
redis.call('SADD', KEYS[14], ARGV[5])
for _, o in ipairs(e.open or {}) do redis.call('ZADD', KEYS[2], o[2], o[1]) end
for _, m in ipairs(e.shut or {}) do redis.call('ZREM', KEYS[2], m) end

for i = 19, #KEYS do
  local value = i - 19 < e.set and ARGV[6 + i - 19]
  if value then redis.call('SET', KEYS[i], value, 'PX', e.ttl) else redis.call('DEL', KEYS[i]) end
end

for _, d in ipairs(e.tally or {}) do
  -- A card that was judged before there was a tally takes nothing off it.
  if redis.call('HINCRBY', KEYS[18], d[1], d[2]) <= 0 then redis.call('HDEL', KEYS[18], d[1]) end
  redis.call('PEXPIRE', KEYS[18], e.ttl)
end

for _, p in ipairs(e.put or {}) do
  local id, b, at = p[1], p[2], p[3]
  local old, dead = redis.call('HGET', KEYS[4], id), redis.call('HGET', KEYS[8], id)
  local last = old and cjson.decode(old) or dead and cjson.decode(dead).body
  if not last or last.at <= at then
    redis.call('HSET', KEYS[4], id, b)
    redis.call('HSET', KEYS[5], id, redis.call('INCR', KEYS[15]))
    redis.call('HDEL', KEYS[7], id)
    redis.call('HDEL', KEYS[8], id)
    tell(p[5], id, at, 'body', b, 'was', p[4])
    local lease = redis.call('HGET', KEYS[6], id)
    local ends = lease and tonumber(string.match(lease, ':(%d+)$'))
    -- One that is on its way to Phoenix must come back first.
    if not ends or ends <= now then redis.call('ZADD', KEYS[3], now, id) end
  end
end

if e.mine then
  local what, at, keep, most = e.mine[1], e.mine[2], e.mine[3], e.mine[4]
  if at == 0 then
    redis.call('ZREM', KEYS[16], what)
  else
    redis.call('ZADD', KEYS[16], at, what)
    redis.call('ZREMRANGEBYSCORE', KEYS[16], '-inf', at - keep)
    redis.call('ZREMRANGEBYRANK', KEYS[16], 0, -most - 1)
    redis.call('PEXPIRE', KEYS[16], keep)
  end
end

-- An entry is the holder's only while nobody replaced or leased it since.
local function mine(id, turn)
  return tonumber(redis.call('HGET', KEYS[5], id) or -1) == turn
end
local function remove(id)
  redis.call('ZREM', KEYS[3], id)
  for k = 4, 7 do redis.call('HDEL', KEYS[k], id) end
end
local function release(id, turn)
  local lease = redis.call('HGET', KEYS[6], id)
  if lease and string.match(lease, '^(%d+):') == tostring(turn) then
    redis.call('HDEL', KEYS[6], id)
    redis.call('ZADD', KEYS[3], now, id)
  end
end
for _, d in ipairs(e.done or {}) do
  if mine(d[1], d[2]) then
    remove(d[1])
    tell('stored', d[1], d[3])
  else
    release(d[1], d[2])
  end
end
for _, d in ipairs(e.bury or {}) do
  if mine(d[1], d[2]) then
    remove(d[1])
    redis.call('HSET', KEYS[8], d[1], d[3])
    tell('failed', d[1], d[4], 'why', d[5])
  else
    release(d[1], d[2])
  end
end

for _, d in ipairs(e.drop or {}) do
  local dead = redis.call('HGET', KEYS[8], d[1])
  if dead then
    redis.call('HDEL', KEYS[8], d[1])
    tell('dropped', d[1], d[2], 'body', cjson.encode(cjson.decode(dead).body), 'why', d[3])
  end
end
for _, d in ipairs(e.tell or {}) do tell(d[1], d[2], d[3], 'why', d[4]) end

for _, r in ipairs(e.redraw or {}) do
  local what, at = r[1], r[2]
  if at == 0 then at = now end
  local ends = tonumber(redis.call('HGET', KEYS[10], what) or 0)
  if ends > now then
    local next = tonumber(redis.call('HGET', KEYS[11], what) or math.huge)
    if at < next then redis.call('HSET', KEYS[11], what, string.format('%.0f', at)) end
  else
    redis.call('ZADD', KEYS[9], 'LT', at, what)
  end
end

for _, word in ipairs(e.wake or {}) do redis.call('PUBLISH', ARGV[4], word) end
return 1
