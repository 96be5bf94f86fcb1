-- Subscriptions to signals. The hash has each as '<tie>\31<what is said of it, JSON>', where the tie is '',
-- 'worker:<consumer>' or 'agent:<queue>'; a zset has when those end that have a time to live. Whichever is made,
-- changed or ended becomes an entry of a stream, whose last id is the version of all of them: as Redis makes it of the
-- time, it is not given twice even where all of this was lost.
local MOST_CHANGES = 1000

local function tie_of(record)
  return string.match(record, '^([^\31]*)\31') or ''
end

local function version_of(changes)
  local last = redis.call('XREVRANGE', changes, '+', '-', 'COUNT', 1)[1]
  return last and last[1] or ''
end

local function changed(prefix, id)
  redis.call('XADD', prefix .. ':signal:changes', 'MAXLEN', '~', MOST_CHANGES, '*', 'id', id)
end

-- Why a subscription is over, or nil while it lives. Where nobody is there to sweep, a worker is taken for dead `grace`
-- ms after its lease ran out; it may come back, so it is passed over ('worker_silent') and its subscription stays.
local function over(prefix, id, tie, now, grace)
  local ends = redis.call('ZSCORE', prefix .. ':signal:expiring', id)
  if ends and tonumber(ends) <= now then return 'expired' end
  local kind, name = string.match(tie, '^(%l+):(.*)$')
  if kind == 'worker' then
    local lease = redis.call('ZSCORE', prefix .. ':leases', name)
    if not lease then return 'worker_gone' end
    if tonumber(lease) + grace <= now then return 'worker_silent' end
  elseif kind == 'agent' and agent_gone(prefix, name) then
    return 'agent_gone'
  end
  return nil
end

-- Ends a subscription; whoever is given true was the one that did.
local function forget(prefix, id)
  if redis.call('HDEL', prefix .. ':signal:subscriptions', id) == 0 then return false end
  redis.call('ZREM', prefix .. ':signal:expiring', id)
  changed(prefix, id)
  return true
end
