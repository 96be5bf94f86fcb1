-- uses: clock message receipt places accept
-- Publishes a message that was spooled. Notes its id for as long as the spool may still have it, so that it is
-- one message however late a flush is repeated: receipts expire, this does not.
-- KEYS: list, queues, flushing, then idempotency (if the sender named one)
-- ARGV: prefix, receipt_ttl_ms, worker, queue, due_ms (0: now), raw, window_ms, then field value ... of a new receipt
-- returns: 1 published, 0 was published before; or the receipt that the idempotency key has already
local id, once = message_id(ARGV[6]), select(4, unpack(KEYS))
if redis.call('SISMEMBER', KEYS[3], id) == 1 then return 0 end
local accepted = accept(destination(), ARGV[6], {unpack(ARGV, 8)}, once, tonumber(ARGV[7]))
redis.call('SADD', KEYS[3], id)
return accepted
