-- Who holds the permits of a semaphore, or the resources of a pool, and who waits for them, first come, first served.
-- Holders and those who wait have leases; those that run out are removed by whoever asks next.

-- Removes the dead: holders, and those who no longer wait. Its first write only frees memory.
local function remove_dead(granted, grants, waiters, waiting, now)
  for _, waiter in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', now)) do
    redis.call('ZREM', waiters, waiter)
  end
  redis.call('ZREMRANGEBYSCORE', waiting, '-inf', now)
  for _, grant in ipairs(redis.call('ZRANGEBYSCORE', granted, '-inf', now)) do
    redis.call('ZREM', granted, grant)
    redis.call('HDEL', grants, grant)
  end
end

-- What is free: as many names as may be granted now.
local function free_of(granted, grants, permits, resources)
  local free, taken = {}, {}
  if #resources == 0 then
    for _ = redis.call('ZCARD', granted) + 1, permits do free[#free + 1] = '' end
    return free
  end
  for _, is in ipairs(redis.call('HVALS', grants)) do taken[string.match(is, '^%d+ (.*)$')] = true end
  for _, resource in ipairs(resources) do
    if not taken[resource] then free[#free + 1] = resource end
  end
  return free
end

-- Wakes the first of those who wait.
local function wake(waiters, prefix, most)
  for _, waiter in ipairs(most > 0 and redis.call('ZRANGE', waiters, 0, most - 1) or {}) do
    local bell = prefix .. ':grant:bell:' .. waiter
    if redis.call('EXISTS', bell) == 0 then redis.call('LPUSH', bell, '1') end
    redis.call('PEXPIRE', bell, 60000)
  end
end

-- Keys go by themselves when all leases in them have long run out.
local function outlive(ms, ...)
  for _, key in ipairs({...}) do
    if redis.call('PTTL', key) < 2 * ms then redis.call('PEXPIRE', key, 2 * ms) end
  end
end
