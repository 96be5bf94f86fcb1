-- uses: clock breaker
-- Opens or closes a breaker by hand, or forgets all about it: a new generation in any case, so that nothing that is
-- still on its way undoes it. Works on a full Redis: the first write only frees memory.
-- KEYS: breaker, breaker_probes, breakers
-- ARGV: name, who, why, state ('open', 'closed', or 'reset': closed and forgotten), for_ms (of open; 0: until closed)
-- returns: {state, generation, ms until it may be probed or -1, who, why, 1}
local now, state, for_ms = now_ms(), ARGV[4], tonumber(ARGV[5])
redis.call('HDEL', KEYS[1], '')
local ends = 0
if state == 'open' then ends = for_ms > 0 and now + for_ms or -1 end
breaker_become(KEYS[1], KEYS[2], state == 'reset' and 'closed' or state, ends, ARGV[2], ARGV[3], now)
if state == 'reset' then
  redis.call('SREM', KEYS[3], ARGV[1])
else
  redis.call('SADD', KEYS[3], ARGV[1])
end
local seen = breaker_view(KEYS[1], now)
seen[6] = 1
return seen
