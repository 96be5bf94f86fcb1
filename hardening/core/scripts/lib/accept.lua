-- Accepts a new message, unless its receipt says that it was, or the idempotency key `once` that one with another
-- receipt was: returns 1, 0, or the id of that receipt. The message comes before all that tells of it, for its list
-- alone may be of another type: what it refuses leaves no trace, above all no receipt or idempotency key that would
-- make the next attempt a repeat. A receipt is kept for at least `window` ms, as long as `once` is.
local function accept(to, raw, fields, once, window)
  local prefix, ttl, worker = to.prefix, to.ttl, to.worker
  local receipt, id, key, state = receipt_id(raw), nil, nil, 'queued'
  if receipt then
    key, id = prefix .. ':delivery:' .. receipt, message_id(raw)
    if redis.call('HGET', key, 'message') == id then return 0 end
  end
  local first = once and redis.call('GET', once)
  if first then return first == receipt and 0 or first end
  if to.due > 0 and to.due > now_ms() then
    state = 'scheduled'
    to_schedule(prefix, ttl, to.list, raw, worker, to.due)
  else
    redis.call('LPUSH', to.list, raw)
    ring(prefix, to.list)
  end
  if key and #fields > 0 then
    local now = string.format('%.0f', now_ms())
    redis.call('HSET', key, 'message', id, 'created_ms', now, 'state', state, 'worker', worker, 'reason', '',
      'changes', 1, '#1', now .. ' ' .. state .. ' ' .. worker, unpack(fields))
    redis.call('PEXPIRE', key, ttl)
  elseif key and redis.call('EXISTS', key) == 1 then
    redis.call('HSET', key, 'message', id, 'queue', to.queue)
    note(prefix, ttl, raw, state, worker)
  end
  if once then
    redis.call('SET', once, receipt, 'PX', window)
    redis.call('HSET', key, 'kept_until_ms', string.format('%.0f', now_ms() + window))
    redis.call('PEXPIRE', key, math.max(ttl, window))
  end
  redis.call('SADD', KEYS[2], to.queue)
  count(prefix, 'published', 1)
  return 1
end

-- Where a new message goes, as the head of ARGV has it: prefix, receipt_ttl_ms, worker, queue, due_ms. KEYS begins
-- with list, queues.
local function destination()
  return {prefix = ARGV[1], ttl = ARGV[2], worker = ARGV[3], queue = ARGV[4], due = tonumber(ARGV[5]), list = KEYS[1]}
end
