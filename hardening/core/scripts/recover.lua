-- uses: clock message receipt places groups burial mailbox charge gone
-- Moves messages of consumers whose lease ran out back to their queues, up to `limit` a call. What the
-- consumer had begun is charged, the rest is not. Anyone may call it at any time: an entry moves once.
-- KEYS: leases, dead, members
-- ARGV: prefix, receipt_ttl_ms, max_crashes, base_delay_ms, limit, consumer that asks
-- returns: {consumer or '', given back, charged, buried, 1 when there is more, then for each of the
--   buried: {entry id, list, raw}}
local prefix, ttl, limit = ARGV[1], ARGV[2], tonumber(ARGV[5])
for _, lost in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms())) do
  if lost ~= ARGV[6] then
    redis.call('ZREM', KEYS[1], lost)
    consumer_gone(prefix, lost, 'silent')
    redis.call('DEL', prefix .. ':consuming:' .. lost)
    redis.call('ZADD', KEYS[2], now_ms(), lost)
  end
end
local consumer = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
if not consumer then return {'', 0, 0, 0, 0} end
local inflight, started = prefix .. ':inflight:' .. consumer, prefix .. ':started:' .. consumer
local rule = {max = tonumber(ARGV[3]), base = tonumber(ARGV[4]), traceback = '',
  error = 'the worker process died while it ran this message'}
local restored, charged, buried = 0, 0, {}
local page = redis.call('HRANDFIELD', inflight, limit)
table.sort(page, function(a, b) return tonumber(a) > tonumber(b) end)
for _, seq in ipairs(page) do
  local list, raw = split(redis.call('HGET', inflight, seq))
  redis.call('HDEL', inflight, seq)
  if redis.call('HDEL', started, seq) == 1 then
    charged = charged + 1
    local entry = charge(prefix, ttl, list, raw, consumer, rule)
    if entry then buried[#buried + 1] = {entry, list, raw} end
  else
    to_queue(prefix, ttl, list, raw, consumer)
  end
  restored = restored + 1
end
if restored > 0 then count(prefix, 'recovered', restored) end
if redis.call('EXISTS', inflight) == 0 then
  redis.call('DEL', started)
  redis.call('ZREM', KEYS[2], consumer)
  redis.call('HDEL', KEYS[3], consumer)
end
return {consumer, restored - #buried, charged, #buried, redis.call('EXISTS', KEYS[2]), unpack(buried)}
