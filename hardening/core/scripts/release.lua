-- uses: clock message receipt places mailbox
-- Gives messages back, uncharged: to the consuming end of their lists, or to the schedule. What keeps its place waits
-- at the head of its mailbox, and that with it.
-- KEYS: inflight, started
-- ARGV: prefix, receipt_ttl_ms, worker, due_ms (0: now), 1 to keep its place in a mailbox, seq ...
-- returns: how many were given back
local prefix, ttl, worker, due = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local released = 0
for i = #ARGV, 6, -1 do
  local entry = redis.call('HGET', KEYS[1], ARGV[i])
  if entry then
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('HDEL', KEYS[2], ARGV[i])
    local list, raw = split(entry)
    if due > 0 and not (ARGV[5] == '1' and hold_mailbox(prefix, list, due)) then
      to_schedule(prefix, ttl, list, raw, worker, due)
    else
      to_queue(prefix, ttl, list, raw, worker)
    end
    released = released + 1
  end
end
if released > 0 then count(prefix, 'released', released) end
return released
