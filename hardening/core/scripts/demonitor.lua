-- uses: clock monitors
-- Ends monitors. Works on a full Redis: the first write only frees memory.
-- KEYS: counters
-- ARGV: prefix, then for each: id, target
-- returns: how many there were
local ended = 0
for i = 2, #ARGV, 2 do
  if take_out(ARGV[1], ARGV[i], ARGV[i + 1]) then ended = ended + 1 end
end
if ended > 0 then redis.call('HINCRBY', KEYS[1], 'monitors_ended', ended) end
return ended
