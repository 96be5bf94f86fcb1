-- uses: clock message mailbox subscriptions
-- Reads all subscriptions, and how they stand.
-- KEYS: signal_subscriptions, signal_expiring
-- ARGV: prefix, grace_ms
-- returns: for each: id, what it is, ms until its time to live is over or -1, '' or why it is over
local out, all, now = {}, redis.call('HGETALL', KEYS[1]), now_ms()
for at = 1, #all, 2 do
  local ends = redis.call('ZSCORE', KEYS[2], all[at])
  out[#out + 1], out[#out + 2] = all[at], all[at + 1]
  out[#out + 1] = ends and math.max(0, tonumber(ends) - now) or -1
  out[#out + 1] = over(ARGV[1], all[at], tie_of(all[at + 1]), now, tonumber(ARGV[2])) or ''
end
return out
