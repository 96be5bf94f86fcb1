-- uses: clock message receipt places
-- A consumer that lost its lease has finished what it had begun: removes the copy that was restored, if
-- nobody has taken it yet. Looks through the schedule by id and the nearest 10,000 of the list.
-- KEYS: list, scheduled, scheduled_messages, crashes
-- ARGV: prefix, receipt_ttl_ms, worker, raw
-- returns: 1 the copy was removed and counts as acked, 0 it is being run again
local prefix, ttl, worker, raw = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local id = message_id(raw)
if redis.call('ZREM', KEYS[2], id) == 1 then
  redis.call('HDEL', KEYS[3], id)
elseif redis.call('LPOS', KEYS[1], raw, 'RANK', -1, 'MAXLEN', 10000) then
  redis.call('LREM', KEYS[1], -1, raw)
  if not is_marked(raw) then count(prefix, 'adopted', 1) end
else
  return 0
end
redis.call('HDEL', KEYS[4], id)
count(prefix, 'acked', 1)
note(prefix, ttl, raw, 'acked', worker)
return 1
