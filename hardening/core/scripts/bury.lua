-- uses: clock message receipt places groups burial
-- Moves one message in flight to the dead-letter queue. With a raw message given, it buries what was
-- acknowledged before it failed (tasks that opted out of late acknowledgement, and run at most once). Works on a
-- full Redis: the first write only frees memory.
-- KEYS: inflight, started
-- ARGV: prefix, receipt_ttl_ms, worker, seq, reason, error, traceback, fingerprint, 1 to keep, list or '', raw or ''
-- returns: 1 buried, 0 no such entry
local prefix, ttl, worker, seq = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
redis.call('HDEL', KEYS[2], seq)
local entry = redis.call('HGET', KEYS[1], seq)
local list, raw = ARGV[10], ARGV[11]
if entry then
  list, raw = split(entry)
elseif raw == '' then
  return 0
else
  count(prefix, 'acked', -1)
end
to_dlq(prefix, ttl, list, raw, worker, {reason = ARGV[5], error = ARGV[6], traceback = ARGV[7],
  fingerprint = ARGV[8], kept = ARGV[9] == '1', once = not entry})
redis.call('HDEL', KEYS[1], seq)
return 1
