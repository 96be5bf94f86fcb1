-- uses: message mailbox subscriptions
-- Ends subscriptions. Works on a full Redis: the first write only frees memory.
-- KEYS: signal_subscriptions
-- ARGV: prefix, then their ids
-- returns: how many there were
local ended = 0
for at = 2, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[at]) == 1 and forget(ARGV[1], ARGV[at]) then ended = ended + 1 end
end
return ended
