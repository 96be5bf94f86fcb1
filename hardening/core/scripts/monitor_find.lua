-- uses: clock monitors target
-- Reads a page of monitors in the order of a zset, those of living owners. Writes nothing.
-- KEYS: monitor_since or monitor_leaked, owners, monitor_leaked
-- ARGV: prefix, at least so old in ms, offset, limit, 1 for those alone whose target is there
-- returns: {now_ms, how many were looked at, then for each: id, record, 1 when it was reported as a leak}
local prefix, now = ARGV[1], now_ms()
local refs = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]), 'LIMIT', ARGV[3], ARGV[4])
local out, living = {now, #refs}, {}
for _, ref in ipairs(refs) do
  local id, target = string.match(ref, '^([^\31]*)\31(.*)$')
  local owner = owner_of(id)
  if living[owner] == nil then
    living[owner] = (tonumber(redis.call('ZSCORE', KEYS[2], owner) or 0)) > now
  end
  local record = living[owner] and redis.call('HGET', prefix .. ':monitors:' .. owner, id)
  if record and (ARGV[5] ~= '1' or not end_of(prefix, target)) then
    out[#out + 1], out[#out + 2] = id, record
    out[#out + 1] = redis.call('ZSCORE', KEYS[3], ref) and 1 or 0
  end
end
return out
