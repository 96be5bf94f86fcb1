-- uses: clock breaker
-- Asks for one of the places of the probes. An open breaker whose pause is over becomes half open. A place is leased:
-- one whose prober is not heard of again comes back. Repeated after a lost reply, it gives the same place.
-- Works on a full Redis: the first write only frees memory.
-- KEYS: breaker, breaker_probes
-- ARGV: who, probes, lease_ms, the probe's own name
-- returns: {state, generation, ms until it may be probed or -1, who, why, 1 if this call changed it, 1 if it may probe}
local now, lease, changed, granted = now_ms(), tonumber(ARGV[3]), 0, 0
redis.call('HDEL', KEYS[1], '')
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local seen = breaker_view(KEYS[1], now)
if seen[1] == 'open' and seen[3] == 0 then
  breaker_become(KEYS[1], KEYS[2], 'half_open', 0, ARGV[1], 'its pause was over', now)
  seen, changed = breaker_view(KEYS[1], now), 1
end
if seen[1] == 'half_open' then
  local taken = redis.call('ZCARD', KEYS[2]) + (tonumber(redis.call('HGET', KEYS[1], 'healed')) or 0)
  if redis.call('ZSCORE', KEYS[2], ARGV[4]) or taken < tonumber(ARGV[2]) then
    redis.call('ZADD', KEYS[2], now + lease, ARGV[4])
    redis.call('PEXPIRE', KEYS[2], 2 * lease)
    granted = 1
  else
    local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
    seen[3] = math.max(0, (tonumber(first[2]) or now) - now)
  end
end
seen[6], seen[7] = changed, granted
return seen
