-- uses: clock message receipt places cancellation
-- A consumer gives up a message that it holds and has not begun, for somebody has asked to cancel it. If the request
-- does not stand any more, the message goes back to its queue. Works on a full Redis: the first write only frees.
-- KEYS: inflight, cancelling
-- ARGV: prefix, receipt_ttl_ms, worker, seq
-- returns: 1 cancelled, 0 given back, -1 no such entry
local entry = redis.call('HGET', KEYS[1], ARGV[4])
if not entry then return -1 end
redis.call('HDEL', KEYS[1], ARGV[4])
local list, raw = split(entry)
local request = redis.call('HGET', KEYS[2], message_id(raw))
redis.call('HDEL', KEYS[2], message_id(raw))
local until_ms, asker = string.match(request or '', '^(%d+) (%S*)$')
if not until_ms or tonumber(until_ms) < now_ms() then
  to_queue(ARGV[1], ARGV[2], list, raw, ARGV[3])
  return 0
end
to_nowhere(ARGV[1], ARGV[2], raw, ARGV[3], 'consumer', asker)
return 1
