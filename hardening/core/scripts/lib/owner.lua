-- Whether the owner of an entry has ended: an agent, named by its queue, with its mailbox; anybody else when he was
-- silent for too long.
local function owner_ended(prefix, owner)
  if not owner or owner == '' then return false end
  if mailbox_of(prefix, owner) then return agent_gone(prefix, owner) end
  return redis.call('EXISTS', prefix .. ':beat:owner:' .. owner) == 0
end
