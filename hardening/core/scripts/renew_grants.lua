-- uses: clock permits
-- Renews leases of permits and resources. One that ran out and was not given to anybody is renewed.
-- Works on a full Redis: the first write only frees memory.
-- KEYS: granted ..., grants of each lease
-- ARGV: grant ..., ttl_ms of each lease
-- returns: for each lease 1, or 0: it was taken away
local now, out = now_ms(), {}
for i = 1, #KEYS, 2 do
  local granted, grant, ttl = KEYS[i], ARGV[i], tonumber(ARGV[i + 1])
  redis.call('ZREM', granted, '')
  if redis.call('ZSCORE', granted, grant) then
    redis.call('ZADD', granted, now + ttl, grant)
    outlive(ttl, granted, KEYS[i + 1])
    out[#out + 1] = 1
  else
    out[#out + 1] = 0
  end
end
return out
