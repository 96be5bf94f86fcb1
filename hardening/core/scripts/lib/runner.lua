-- Whether a consumer still runs the message of a mailbox that it was given: that is in flight with it, and nobody else
-- holds the mailbox. A consumer whose lease was lost has neither, and never gets its name back.
local function still_runs(mailbox, inflight, consumer, seq)
  if redis.call('HEXISTS', inflight, seq) == 0 then return false end
  local holder = redis.call('HGET', mailbox, 'holder')
  return not holder or holder == consumer
end
