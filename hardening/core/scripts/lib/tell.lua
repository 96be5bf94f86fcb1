-- A bell has at most one token. That of one owner goes with the owner.
local function ring_monitors(prefix, owner)
  local bell = prefix .. ':monitor:bell' .. (owner and ':' .. owner or '')
  if redis.call('EXISTS', bell) == 0 then
    redis.call('LPUSH', bell, '1')
    if owner then redis.call('PEXPIRE', bell, 60000) end
  end
end

-- Tells of a down: the owner by its list, which is dropped with its lease; with 's' a notice is owed besides. That of a
-- durable monitor is named for its time too: it may be set again, and told again, under the same id.
local function tell(prefix, id, told, target, about, reason, how)
  local owner, at = owner_of(id), string.format('%.0f', now_ms())
  local down = table.concat({id, reason, at, target, how}, '\31')
  redis.call('RPUSH', prefix .. ':monitor:downs:' .. owner, down)
  redis.call('PEXPIRE', prefix .. ':monitor:downs:' .. owner, 60000)
  ring_monitors(prefix, owner)
  if told == 's' then
    local notice = string.sub(id, 1, 8) == 'durable:' and id .. '@' .. at or id
    redis.call('HSET', prefix .. ':monitor:notices', notice, down .. '\31' .. about)
    redis.call('ZADD', prefix .. ':monitor:owed', 0, notice)
    ring_monitors(prefix)
  end
  redis.call('HINCRBY', prefix .. ':counters', 'monitor_downs', 1)
end
