-- uses: clock message receipt places
-- Puts scheduled messages, due or not, back into plain kombu queues, up to `limit` a call: stock workers
-- hold an ETA themselves. Latest first, so that the earliest ends up at the consuming end.
-- KEYS: scheduled, scheduled_messages
-- ARGV: prefix, receipt_ttl_ms, worker, limit
-- returns: how many were moved
local moved = redis.call('ZREVRANGE', KEYS[1], 0, tonumber(ARGV[4]) - 1)
for _, id in ipairs(moved) do
  from_schedule(ARGV[1], ARGV[2], id, ARGV[3])
end
return #moved
