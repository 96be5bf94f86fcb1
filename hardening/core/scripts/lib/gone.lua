-- A target is down: how is noted, once, for those who look after monitors, and one of them is woken. Costs one EXISTS
-- where nobody monitors it.
local function gone(prefix, target, how)
  if redis.call('EXISTS', prefix .. ':monitored:' .. target) == 0 then return end
  redis.call('HSETNX', prefix .. ':monitor:gone', target, how)
  local bell = prefix .. ':monitor:bell'
  if redis.call('EXISTS', bell) == 0 then redis.call('LPUSH', bell, '1') end
end

-- A consumer is no more: neither is its name at its host, and queues may have been left without one.
local function consumer_gone(prefix, consumer, how)
  gone(prefix, 'worker:' .. consumer, how)
  local about = redis.call('HGET', prefix .. ':members', consumer)
  local node = about and string.match(about, '"node": "([^"\\]+)"')
  if node and redis.call('HGET', prefix .. ':nodes', node) == consumer then
    redis.call('HDEL', prefix .. ':nodes', node)
  end
  for _, queue in ipairs(redis.call('SINTER', prefix .. ':monitor:queues', prefix .. ':consuming:' .. consumer)) do
    local is_left = true
    for _, other in ipairs(redis.call('ZRANGE', prefix .. ':leases', 0, -1)) do
      if other ~= consumer and redis.call('SISMEMBER', prefix .. ':consuming:' .. other, queue) == 1 then
        is_left = false
        break
      end
    end
    if is_left then gone(prefix, 'queue:' .. queue, how) end
  end
end
