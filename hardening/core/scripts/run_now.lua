-- uses: clock message receipt places accept slot
-- Sends an entry's message out of turn; its slots go on as they would have.
-- KEYS: list, queues, beat_entry, beat_history
-- ARGV: prefix, receipt_ttl_ms, worker, queue, due_ms, raw, history_most, then field value ... of a new receipt
-- returns: 1 sent, 0 no such entry
if redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
accept(destination(), ARGV[6], {unpack(ARGV, 8)}, nil, 0)
remember(KEYS[4], tonumber(ARGV[7]), 'run_now', string.format('%.0f', now_ms()), receipt_id(ARGV[6]))
return 1
