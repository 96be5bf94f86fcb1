-- Mailboxes: a queue 'agent.<name>' that has a hash '{p}:mailbox:{queue}'. One consumer at a time holds one, and has
-- one message of it in flight. Which one that is stands in the hash, as `holder` and `seq`; `fence` numbers the
-- holders. A consumer whose lease was lost never gets its name back: to be the holder is to be entitled.
local function is_mailbox(prefix, list)
  local key = mailbox_of(prefix, list)
  return key and redis.call('EXISTS', key) == 1
end

-- Nothing is taken from it before then. Returns whether it is a mailbox.
local function hold_mailbox(prefix, list, until_ms)
  if not is_mailbox(prefix, list) then return false end
  redis.call('HSET', mailbox_of(prefix, list), 'resume_ms', string.format('%.0f', until_ms))
  return true
end

-- Whether the agent whose mailbox a queue is has come to its end: it was stopped, or is not known.
local function agent_gone(prefix, queue)
  local key = mailbox_of(prefix, queue)
  local is = key and redis.call('HMGET', key, 'bound', 'halt') or {}
  return not is[1] or is[2] == 'stopped'
end
