-- uses: exhumation
-- Purges entries of the dead-letter queue.
-- KEYS: counters
-- ARGV: prefix, then for each: entry id, group
-- returns: how many were purged
local count, gone = 0, {}
for i = 2, #ARGV, 2 do
  if exhume(ARGV[1], ARGV[i], ARGV[i + 1], gone) then count = count + 1 end
end
forget(ARGV[1], gone)
if count > 0 then redis.call('HINCRBY', KEYS[1], 'discarded', count) end
return count
