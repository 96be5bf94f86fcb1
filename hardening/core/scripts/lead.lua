-- uses: clock leadership
-- Takes or renews the lead among the beats and reads what is due. A new leader gets a new fence number, so whatever
-- an older one still says is not heard. Works on a full Redis: the first write only frees memory.
-- KEYS: beat_leader, beat_fence, beat_ticks, beat_due
-- ARGV: prefix, beat, lease_ms, limit
-- returns: {'', now_ms, ms the leader's lease still lasts}; {token, now_ms, 1 just taken, next due ms or 0, then for
--   each that is due: {name, slot_ms, revision, attempts, waits}}
local now = now_ms()
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - 3600000)
redis.call('ZADD', KEYS[3], now, ARGV[2])
local token, taken, left = take_lead(KEYS[1], KEYS[2], ARGV[2], ARGV[3])
if left then return {'', now, left} end
local from = '(' .. string.format('%.0f', now)
local after = redis.call('ZRANGEBYSCORE', KEYS[4], from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local out = {token, now, taken, tonumber(after[2]) or 0}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, tonumber(ARGV[4]))) do
  local is = redis.call('HMGET', ARGV[1] .. ':beat:entry:' .. name, 'slot_ms', 'revision', 'attempts', 'waits')
  if is[1] then
    out[#out + 1] = {name, is[1], is[2], is[3], is[4]}
  else
    redis.call('ZREM', KEYS[4], name)
  end
end
return out
