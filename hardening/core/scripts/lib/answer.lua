-- Answers one who asked. Who does not ask any more leaves it to its time to live.
local function answer(prefix, ask, ttl, said)
  redis.call('RPUSH', prefix .. ':reply:' .. ask, said)
  redis.call('PEXPIRE', prefix .. ':reply:' .. ask, ttl)
end
