-- Settles a message that has just been taken out of its place as cancelled. Its receipt notes where it was and who
-- asked, under the message's id, so that asking again gets the same answer.
local function to_nowhere(prefix, ttl, raw, worker, place, asker)
  local id, receipt = message_id(raw), prefix .. ':delivery:' .. receipt_id(raw)
  redis.call('HDEL', prefix .. ':crashes', id)
  count(prefix, 'purged', 1)
  note(prefix, ttl, raw, 'dead', worker, 'cancelled')
  if redis.call('HGET', receipt, 'message') == id then
    redis.call('HSET', receipt, 'cancelled', id .. ' ' .. place .. ' ' .. asker)
  end
end
