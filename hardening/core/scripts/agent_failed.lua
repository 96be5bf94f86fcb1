-- uses: clock message receipt places accept answer runner
-- An agent failed: counts its restart, and halts it when there were too many within a period; its owner is told in the
-- same step, and so once. Works on a full Redis: the first write only frees memory.
-- rule: none, restart, restart_with_backoff, stop or park; base, cap: of the back-off. Times are in ms; keep is how
-- long the answer is kept. queue to raw: the notice to the owner, '' if there is none, and fields of its receipt.
-- KEYS: restarts, queues, mailbox, inflight
-- ARGV: prefix, ttl, worker, consumer, seq, rule, most, within, base, cap, why, keep, ask, told, queue, list, raw, ...
-- returns: {-1} the message is not the caller's any more; {how it is halted or '', restarts, ms it backs off}
if not still_runs(KEYS[3], KEYS[4], ARGV[4], ARGV[5]) then return {-1} end
local prefix, strategy, now, within = ARGV[1], ARGV[6], now_ms(), tonumber(ARGV[8])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - within)
if ARGV[13] ~= '' then answer(prefix, ARGV[13], ARGV[12], ARGV[14]) end
if strategy == 'none' then return {'', 0, 0} end
redis.call('ZADD', KEYS[1], now, string.format('%.0f', now) .. ' ' .. ARGV[5])
redis.call('PEXPIRE', KEYS[1], within)
local n, halt, pause = redis.call('ZCARD', KEYS[1]), '', 0
if strategy == 'stop' then
  halt = 'stopped'
elseif strategy == 'park' or n > tonumber(ARGV[7]) then
  halt = 'parked'
elseif strategy == 'restart_with_backoff' then
  pause = math.min(ARGV[9] * 2 ^ math.min(n - 1, 30), ARGV[10])
  redis.call('HSET', KEYS[3], 'resume_ms', string.format('%.0f', now + pause))
end
local was = redis.call('HGET', KEYS[3], 'halt')
if halt ~= '' and was ~= 'stopped' and was ~= 'parked' then
  redis.call('HSET', KEYS[3], 'halt', halt, 'why', ARGV[11], 'halted_ms', string.format('%.0f', now))
  if ARGV[15] ~= '' then
    local to = {prefix = prefix, ttl = ARGV[2], worker = ARGV[3], queue = ARGV[15], due = 0, list = ARGV[16]}
    accept(to, ARGV[17], {unpack(ARGV, 18)})
  end
end
return {halt, n, pause}
