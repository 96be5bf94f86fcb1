-- uses: clock message receipt places accept
-- Puts a new message on its queue, or holds it until it is due. Safe to repeat: a supervised message
-- whose receipt already names it was published by an attempt whose reply was lost.
-- KEYS: list, queues, then idempotency (if the sender named one)
-- ARGV: prefix, receipt_ttl_ms, worker, queue, due_ms (0: now), raw, window_ms, then field value ... of a new receipt
-- returns: 1 published, 0 was published before; or the receipt that the idempotency key has already
local once = select(3, unpack(KEYS))
return accept(destination(), ARGV[6], {unpack(ARGV, 8)}, once, tonumber(ARGV[7]))
