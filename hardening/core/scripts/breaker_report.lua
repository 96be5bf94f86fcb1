-- uses: clock breaker
-- Counts how calls through a breaker ended, and opens, closes or reopens it as its rule says: decided here and nowhere
-- else. Results of another generation change nothing. Without results it only tells the state, and writes nothing.
-- Works on a full Redis: the first write only frees memory. Repeated after a lost reply, it would count twice.
-- KEYS: breaker, breaker_probes, breakers
-- ARGV: name, who, generation, calls, failures, slow, failure_rate, slow_rate, minimum, window_ms, open_ms, probes, ...
-- returns: {state, generation, ms until it may be probed or -1, who, why, 1 if this call changed it}
-- After probes come the names of those that ended, whether or not they count. A slow_rate over 1 is never reached.
local name, who, window, open, changed = ARGV[1], ARGV[2], tonumber(ARGV[10]), tonumber(ARGV[11]), 0
local calls, failures, slow = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local failure_rate, slow_rate, now = tonumber(ARGV[7]), tonumber(ARGV[8]), now_ms()
local seen = breaker_view(KEYS[1], now)
local state = seen[1]

local function become(to, ends, why)
  breaker_become(KEYS[1], KEYS[2], to, ends, who, why, now)
  changed = 1
end

if seen[2] == tonumber(ARGV[3]) and (calls > 0 or #ARGV > 12) then
  redis.call('HDEL', KEYS[1], '')
  if #ARGV > 12 then redis.call('ZREM', KEYS[2], unpack(ARGV, 13)) end
  if state == 'closed' then
    redis.call('SADD', KEYS[3], name)
    local sums = breaker_count(KEYS[1], window, now, calls, failures, slow)
    redis.call('PEXPIRE', KEYS[1], KEPT_MS)
    local failed, late = sums[2] / sums[1], sums[3] / sums[1]
    if sums[1] >= tonumber(ARGV[9]) and (failed >= failure_rate or late >= slow_rate) then
      local what = failed >= failure_rate and ' failed' or ' were slow'
      become('open', now + open, (failed >= failure_rate and sums[2] or sums[3]) .. ' of ' .. sums[1] .. what)
    end
  elseif state == 'half_open' and (failures > 0 or (slow > 0 and slow_rate <= 1)) then
    become('open', now + open, failures > 0 and 'a probe failed' or 'a probe was slow')
  elseif state == 'half_open' and redis.call('HINCRBY', KEYS[1], 'healed', calls) >= tonumber(ARGV[12]) then
    become('closed', 0, ARGV[12] .. ' probes succeeded')
  end
  seen = breaker_view(KEYS[1], now)
end
seen[6] = changed
return seen
