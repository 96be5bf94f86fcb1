-- uses: clock monitors target gone
-- Reports monitors that are due as leaks, up to `limit` of them: older than was allowed, their owner and target alive.
-- Each once, for the report takes it off the list of those due. What has lost its owner is forgotten when that is
-- reaped; a target that is not there is told of. Works on a full Redis: the first write only frees memory.
-- KEYS: monitor_due, monitor_leaked, owners, counters
-- ARGV: prefix, limit
-- returns: {now_ms, how many were looked at, id, record ...}
redis.call('ZREM', KEYS[1], '')
local prefix, now, out, leaked = ARGV[1], now_ms(), {0, 0}, 0
local refs = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, tonumber(ARGV[2]))
out[1], out[2] = now, #refs
for _, ref in ipairs(refs) do
  local id, target = string.match(ref, '^([^\31]*)\31(.*)$')
  local owner = owner_of(id)
  local record, expiry = redis.call('HGET', prefix .. ':monitors:' .. owner, id), redis.call('ZSCORE', KEYS[3], owner)
  local how = record and end_of(prefix, target)
  if not record then
    take_out(prefix, id, target)
  elseif how then
    gone(prefix, target, how)
    redis.call('ZADD', KEYS[1], now + 1000, ref)
  elseif not expiry or tonumber(expiry) <= now then
    redis.call('ZADD', KEYS[1], now + 1000, ref)
  else
    redis.call('ZREM', KEYS[1], ref)
    redis.call('ZADD', KEYS[2], now, ref)
    leaked, out[#out + 1], out[#out + 2] = leaked + 1, id, record
  end
end
if leaked > 0 then redis.call('HINCRBY', KEYS[4], 'monitors_leaked', leaked) end
return out
