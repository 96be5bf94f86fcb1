-- uses: clock message receipt places groups burial mailbox charge
-- The process that ran one message is gone, its consumer is not: charges the message and gives it back,
-- or buries it when it has done so too often.
-- KEYS: inflight, started
-- ARGV: prefix, receipt_ttl_ms, worker, seq, max_crashes, base_delay_ms, error, traceback
-- returns: 0 given back, 1 buried, -1 no such entry
local entry = redis.call('HGET', KEYS[1], ARGV[4])
if not entry then return -1 end
redis.call('HDEL', KEYS[1], ARGV[4])
redis.call('HDEL', KEYS[2], ARGV[4])
local list, raw = split(entry)
local entry = charge(ARGV[1], ARGV[2], list, raw, ARGV[3],
  {max = tonumber(ARGV[5]), base = tonumber(ARGV[6]), error = ARGV[7], traceback = ARGV[8]})
return entry and 1 or 0
