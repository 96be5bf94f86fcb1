-- The dead-letter queue. The record is written before the caller drops the message. What is not to be kept is
-- dead all the same, and counted. Returns the id of the entry, or ''.
local function to_dlq(prefix, ttl, list, raw, worker, death)
  local id, crashes, entry = message_id(raw), prefix .. ':crashes', ''
  if death.kept then
    local task = task_of(raw)
    local group = group_of(prefix, death.reason, task, list, death.fingerprint)
    entry = redis.call('XADD', prefix .. ':dlq', '*', 'raw', raw, 'list', list, 'message', id,
      'receipt', receipt_id(raw) or '', 'reason', death.reason, 'error', death.error or '',
      'traceback', death.traceback or '', 'worker', worker,
      'crashes', death.crashes or redis.call('HGET', crashes, id) or 0,
      'task', task, 'fingerprint', death.fingerprint, 'once', death.once and 1 or 0, 'group', group)
    to_group(prefix, group, entry)
    redis.call('SADD', prefix .. ':dlq:queues', queue_of(list))
  else
    count(prefix, 'dropped', 1)
  end
  redis.call('HDEL', crashes, id)
  count(prefix, 'dead', 1)
  note(prefix, ttl, raw, 'dead', worker, death.reason)
  return entry
end
