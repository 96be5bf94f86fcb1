-- uses: message mailbox subscriptions
-- Tells one that knows a version of the subscriptions what has changed since; where that is not known any more, all of
-- them.
-- KEYS: signal_subscriptions, signal_changes
-- ARGV: version or ''
-- returns: {the version this is to be added to or '': all, the version then, for each: id, '' or what it is}
local out = {'', version_of(KEYS[2])}
local since = ARGV[1] ~= '' and redis.call('XRANGE', KEYS[2], ARGV[1], '+') or {}
if since[1] and since[1][1] == ARGV[1] then
  out[1] = ARGV[1]
  for at = 2, #since do
    local id = since[at][2][2]
    out[#out + 1], out[#out + 2] = id, redis.call('HGET', KEYS[1], id) or ''
  end
  return out
end
for _, part in ipairs(redis.call('HGETALL', KEYS[1])) do out[#out + 1] = part end
return out
