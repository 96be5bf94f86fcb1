-- Whether a mailbox has room for one more message. Where it has none, one goes to the dead-letter queue: the new one,
-- or with `when_full` 'drop_oldest' the one that has waited longest, which makes room. Returns nil, or what was
-- dropped: 'newest' or 'oldest'. A queue that is no mailbox has no bound, nor has a mailbox whose bound is 0.
local function drop_for_room(to, raw)
  if string.sub(to.queue, 1, 6) ~= 'agent.' then return nil end
  local mailbox = to.prefix .. ':mailbox:' .. to.queue
  local said = redis.call('HMGET', mailbox, 'bound', 'when_full')
  local bound = tonumber(said[1]) or 0
  if bound == 0 or redis.call('LLEN', to.list) < bound then return nil end
  local oldest = said[2] == 'drop_oldest' and redis.call('RPOP', to.list)
  if not oldest then
    count(to.prefix, 'published', 1)
  elseif not is_marked(oldest) then
    count(to.prefix, 'adopted', 1)
  end
  redis.call('HINCRBY', mailbox, 'drops', 1)
  count(to.prefix, 'mailbox_drops', 1)
  to_dlq(to.prefix, to.ttl, to.list, oldest or raw, to.worker, {reason = 'mailbox_full', fingerprint = 'mailbox_full',
    error = 'the mailbox ' .. to.queue .. ' has its ' .. said[1] .. ' messages', kept = true})
  return oldest and 'oldest' or 'newest'
end
