-- uses: clock message receipt places accept answer runner version
-- Commits what one message did to an agent: its new state, its answers, and what it sends. All of it or, if the message
-- is not the caller's any more, nothing. Safe to repeat. Works on a full Redis, so that mailboxes can be emptied: the
-- first write only frees memory.
-- kind: 'state' or 'entry' (of the journal), which the blob is, or 'none'. After the number of answers come the id and
-- text of each, then of each message that is sent: queue, list, delay in ms, raw, how many arguments follow that are
-- fields and values of its receipt (0: it has none), and those.
-- KEYS: agent, queues, mailbox, inflight, journal
-- ARGV: prefix, receipt_ttl_ms, worker, consumer, seq, message, mark, schema, kind, blob, reply_ttl_ms, answers, ...
-- returns: the mark of the new version; '' refused; '=' this message was applied before
local prefix, ttl, worker, message, kind = ARGV[1], ARGV[2], ARGV[3], ARGV[6], ARGV[9]
local mark, applied = version_of(KEYS[1])
if applied == message then return '=' end
if mark ~= ARGV[7] or not still_runs(KEYS[3], KEYS[4], ARGV[4], ARGV[5]) then return '' end
redis.call('HDEL', KEYS[1], '')
local last = 12 + 2 * ARGV[12]
local i = last + 1
while i < #ARGV do
  local to = {prefix = prefix, ttl = ttl, worker = worker, queue = ARGV[i], list = ARGV[i + 1]}
  to.due = ARGV[i + 2] == '0' and 0 or now_ms() + ARGV[i + 2]
  accept(to, ARGV[i + 3], {unpack(ARGV, i + 5, i + 4 + ARGV[i + 4])})
  i = i + 5 + ARGV[i + 4]
end
for at = 13, last, 2 do answer(prefix, ARGV[at], ARGV[11], ARGV[at + 1]) end
if kind == 'state' then
  redis.call('DEL', KEYS[5])
  redis.call('HSET', KEYS[1], 'state', ARGV[10], 'schema', ARGV[8])
elseif kind == 'entry' then
  redis.call('RPUSH', KEYS[5], ARGV[10])
end
redis.call('HSET', KEYS[1], 'applied', message, 'updated_ms', string.format('%.0f', now_ms()))
return redis.call('HINCRBY', KEYS[1], 'version', 1) .. ' ' .. message
