-- uses: clock message receipt places accept groups burial bound excess overlap slot
-- Sends an entry's message out of turn; its slots go on as they would have, but for those that must wait until the
-- last message has ended: of what was sent out of turn and has not, up to 20 are known.
-- KEYS: list, queues, beat_entry, beat_history
-- ARGV: prefix, receipt_ttl_ms, worker, queue, due_ms, raw, history_most, then field value ... of a new receipt
-- returns: 1 sent, 0 no such entry
if redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
local receipt, asked = receipt_id(ARGV[6]), unended(ARGV[1], redis.call('HGET', KEYS[3], 'asked') or '')
post(destination(), ARGV[6], {unpack(ARGV, 8)})
asked[#asked + 1] = receipt
redis.call('HSET', KEYS[3], 'asked', table.concat(asked, ' ', math.max(1, #asked - 19)))
remember(KEYS[4], tonumber(ARGV[7]), 'run_now', string.format('%.0f', now_ms()), receipt)
return 1
