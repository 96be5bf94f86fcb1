-- uses: clock message mailbox subscriptions
-- Makes a subscription, or renews it. Tied to a worker it is that one process's, beside those of others. What it is
-- tied to must be there. Looks at some others on its way, so that those that are over, and whom no signal meets, do not
-- pile up. A new one is refused whole on a full Redis; one that is there is renewed.
-- KEYS: signal_subscriptions, signal_expiring, nodes
-- ARGV: prefix, id, tie, ttl_ms (0: none), grace_ms, what is said of it
-- returns: {id, 1 new or changed or 0 renewed}, or {'', why there is none}
local prefix, id, tie, ttl, grace = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local now, node = now_ms(), string.match(ARGV[3], '^node:(.*)$')
if node then tie = 'worker:' .. (redis.call('HGET', KEYS[3], node) or node) end
if string.sub(tie, 1, 7) == 'worker:' then id = id .. '@' .. string.sub(tie, 8) end
local why = over(prefix, '', tie, now, grace)
if why then return {'', why} end
local record = tie .. '\31' .. ARGV[6]
local is_known = redis.call('HGET', KEYS[1], id) == record
if is_known then
  redis.call('ZREM', KEYS[2], '')
else
  redis.call('HSET', KEYS[1], id, record)
  changed(prefix, id)
end
if ttl > 0 then redis.call('ZADD', KEYS[2], now + ttl, id) else redis.call('ZREM', KEYS[2], id) end
for _, other in ipairs(redis.call('HRANDFIELD', KEYS[1], 20)) do
  local ended = over(prefix, other, tie_of(redis.call('HGET', KEYS[1], other)), now, grace)
  if ended and ended ~= 'worker_silent' then forget(prefix, other) end
end
return {id, is_known and 0 or 1}
