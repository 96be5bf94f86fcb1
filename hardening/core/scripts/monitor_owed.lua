-- uses: clock
-- Hands out notices that are to be sent as tasks; what was sent before is settled. Until the claim runs out nobody else
-- is given them, so that nobody sends them in vain; that each becomes one message is its idempotency key's doing. Works
-- on a full Redis: the first write only frees memory.
-- KEYS: monitor_owed, monitor_notices
-- ARGV: limit, claim_ms, name settled ...
-- returns: name, notice ...; a notice is a down and what is said of its monitor
redis.call('ZREM', KEYS[1], '')
for i = 3, #ARGV do
  redis.call('ZREM', KEYS[1], ARGV[i])
  redis.call('HDEL', KEYS[2], ARGV[i])
end
local now, out = now_ms(), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, tonumber(ARGV[1]))) do
  local notice = redis.call('HGET', KEYS[2], id)
  if notice then
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), id)
    out[#out + 1], out[#out + 2] = id, notice
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return out
