-- How a target of monitors ended, or nil: it is there. A worker is there while it has a lease, even one that has run
-- out, for those who sweep decide whether it is dead; a queue while such a worker takes from it; a message while its
-- receipt does not say that it has come to its end.
local function end_of(prefix, target)
  local kind, name = string.match(target, '^(%l+):(.*)$')
  if kind == 'worker' then
    if redis.call('ZSCORE', prefix .. ':leases', name) then return nil end
  elseif kind == 'queue' then
    for _, consumer in ipairs(redis.call('ZRANGE', prefix .. ':leases', 0, -1)) do
      if redis.call('SISMEMBER', prefix .. ':consuming:' .. consumer, name) == 1 then return nil end
    end
  elseif kind == 'receipt' then
    local found = redis.call('HMGET', prefix .. ':delivery:' .. name, 'state', 'reason')
    if found[1] == 'acked' then return 'acked' end
    if found[1] == 'dead' then return 'dead ' .. (found[2] or '') end
    if found[1] then return nil end
  end
  return 'unknown'
end

-- By which of the reasons a target ended that ended so.
local function reason_of(how)
  if how == 'acked' then return 'exited' end
  return string.sub(how, 1, 5) == 'dead ' and 'crashed' or 'unknown'
end
