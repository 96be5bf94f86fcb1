-- uses: clock message receipt places accept
-- Puts new messages with receipts on one queue, or holds them until they are due. Safe to repeat, as publish is.
-- KEYS: list, queues
-- ARGV: prefix, receipt_ttl_ms, worker, queue, due_ms (0: now), task, guarantee, raw ...
-- returns: how many were published; the others were before
local to, published = destination(), 0
for at = 8, #ARGV do
  local fields = {'task', ARGV[6], 'task_id', receipt_id(ARGV[at]), 'guarantee', ARGV[7], 'queue', to.queue}
  published = published + accept(to, ARGV[at], fields)
end
return published
