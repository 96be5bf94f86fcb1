-- Halts a mailbox: nothing more is taken from it, and what is in flight goes on. Or, with no word, lets it go on, also
-- before its back-off is over. Works on a full Redis: the first write only frees memory.
-- KEYS: mailbox, bell
-- ARGV: why (paused, parked or stopped; '': it goes on)
-- returns: 1 done, 0 it was so already, -1 no such mailbox
local is = redis.call('HMGET', KEYS[1], 'bound', 'halt', 'resume_ms')
if not is[1] then return -1 end
if (is[2] or '') == ARGV[1] and (ARGV[1] ~= '' or not is[3]) then return 0 end
redis.call('HDEL', KEYS[1], 'resume_ms', 'wanted_ms')
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], 'halt', ARGV[1])
else
  redis.call('HDEL', KEYS[1], 'halt')
  if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('LPUSH', KEYS[2], '1') end
end
return 1
