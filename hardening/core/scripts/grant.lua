-- uses: clock permits
-- Grants a permit, or one of several resources, if one is free and as few wait in front as are free; else the asker
-- waits in line, for as long as it goes on asking. Whose lease ran out holds nothing any more. Asked again after a lost
-- reply, it answers the same: a grant is known by its name. Works on a full Redis: the first write only frees memory.
-- KEYS: granted, grants, waiters, waiting, fence
-- ARGV: prefix, grant, ttl_ms, patience_ms, permits, the resources of a pool ...
-- returns: {fence, resource or ''} granted; {0, ms until the next lease of a holder runs out or -1, how many are ahead}
local granted, grants, waiters, waiting = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, grant, now = ARGV[1], ARGV[2], now_ms()
local ttl, patience = tonumber(ARGV[3]), tonumber(ARGV[4])
remove_dead(granted, grants, waiters, waiting, now)
local has = redis.call('HGET', grants, grant)
if not has then
  if not redis.call('ZSCORE', waiters, grant) then
    redis.call('ZADD', waiters, redis.call('INCR', KEYS[5]), grant)
  end
  redis.call('ZADD', waiting, now + patience, grant)
  outlive(patience, waiters, waiting)
  local free = free_of(granted, grants, tonumber(ARGV[5]), {unpack(ARGV, 6)})
  local ahead = redis.call('ZRANK', waiters, grant)
  if ahead >= #free then
    local first = redis.call('ZRANGE', granted, 0, 0, 'WITHSCORES')[2]
    return {0, first and math.max(0, tonumber(first) - now) or -1, ahead}
  end
  has = redis.call('INCR', KEYS[5]) .. ' ' .. free[1]
  redis.call('HSET', grants, grant, has)
  redis.call('ZREM', waiters, grant)
  redis.call('ZREM', waiting, grant)
  wake(waiters, prefix, #free - 1)
end
redis.call('ZADD', granted, now + ttl, grant)
outlive(ttl, granted, grants)
local fence, resource = string.match(has, '^(%d+) (.*)$')
return {tonumber(fence), resource}
