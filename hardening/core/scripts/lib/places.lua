-- The places a message can be moved to. Each move is part of one script, so it is never in two.
local function count(prefix, field, n)
  redis.call('HINCRBY', prefix .. ':counters', field, n)
end

-- One token a queue is enough: whoever takes and leaves something behind rings again. Nobody is to come for a mailbox
-- that is halted, or has a message in flight: when that is settled, its holder comes.
local function ring(prefix, list)
  local key = mailbox_of(prefix, list)
  local is = key and redis.call('HMGET', key, 'halt', 'holder', 'seq') or {}
  if is[1] or (is[3] and redis.call('HEXISTS', prefix .. ':inflight:' .. is[2], is[3]) == 1) then return end
  local bell = prefix .. ':bell:' .. queue_of(list)
  if redis.call('EXISTS', bell) == 0 then redis.call('LPUSH', bell, '1') end
end

-- Back to the consuming end of its list. A stock message leaves the ledger until it is taken again.
local function to_queue(prefix, ttl, list, raw, worker)
  redis.call('RPUSH', list, raw)
  if not is_marked(raw) then count(prefix, 'adopted', -1) end
  note(prefix, ttl, raw, 'queued', worker)
  ring(prefix, list)
end

-- A message is held under its id. Stock Celery may give the same bytes twice: both are kept.
local function to_schedule(prefix, ttl, list, raw, worker, due)
  local id, messages = message_id(raw), prefix .. ':scheduled:messages'
  if redis.call('HEXISTS', messages, id) == 1 then id = id .. ':' .. redis.call('INCR', prefix .. ':seq') end
  redis.call('ZADD', prefix .. ':scheduled', due, id)
  redis.call('HSET', messages, id, join(list, raw))
  note(prefix, ttl, raw, 'scheduled', worker)
  ring(prefix, list)
end

-- A due time without its message, which none of our scripts leaves behind, goes without a word here and is
-- missing in the ledger.
local function from_schedule(prefix, ttl, id, worker)
  local entry = redis.call('HGET', prefix .. ':scheduled:messages', id)
  redis.call('ZREM', prefix .. ':scheduled', id)
  redis.call('HDEL', prefix .. ':scheduled:messages', id)
  if not entry then return end
  local list, raw = split(entry)
  to_queue(prefix, ttl, list, raw, worker)
end
