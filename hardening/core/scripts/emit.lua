-- uses: clock message receipt places accept groups burial mailbox subscriptions bound excess
-- Publishes the copies of one signal, unless its emitter has looked at other subscriptions than there are: then nothing
-- is done. A recipient whose every subscription is over gets nothing, and what is over for good is ended; no slow
-- recipient is waited for. Safe to repeat: an emitter numbers its signals, and the answer to the last is kept. Refused
-- whole on a full Redis.
-- KEYS: signal_emitter, queues, signal_changes, signal_stats, then the list of each recipient
-- ARGV: prefix, receipt_ttl_ms, worker, version, number, grace_ms, first, bucket, us, then for each recipient: queue,
--   raw, how many subscriptions it has that may end, and of each id and tie; first is 1 for a signal, 0 for more of it;
--   bucket and us are how long an earlier signal took, or '' and 0
-- returns: 0 where there are other subscriptions; otherwise how many were published, then place and reason of each
--   recipient that something was dropped for, or whose mailbox fills ('filled:<waiting>/<bound>'), with blanks between
local prefix, number, stats, now = ARGV[1], tonumber(ARGV[5]), KEYS[4], now_ms()
local last, said = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (.*)$')
if last and tonumber(last) >= number then return said end
if version_of(KEYS[3]) ~= ARGV[4] then return 0 end
redis.call('HINCRBY', stats, 'emitted', ARGV[7])
if ARGV[8] ~= '' then
  redis.call('HINCRBY', stats, 'us<' .. ARGV[8], 1)
  redis.call('HINCRBY', stats, 'us', ARGV[9])
end
local at, routed, out = 10, 0, {0}
for place = 5, #KEYS do
  local raw, may_end, why = ARGV[at + 1], tonumber(ARGV[at + 2]), nil
  local to = {prefix = prefix, ttl = ARGV[2], worker = ARGV[3], queue = ARGV[at], due = 0, list = KEYS[place]}
  for one = at + 3, at + 2 * may_end + 1, 2 do
    why = over(prefix, ARGV[one], ARGV[one + 1], now, tonumber(ARGV[6]))
    if not why then break end
    if why ~= 'worker_silent' then forget(prefix, ARGV[one]) end
  end
  at = at + 3 + 2 * may_end
  local kind = not why and redis.call('TYPE', to.list).ok
  if kind and kind ~= 'list' and kind ~= 'none' then why = 'not_a_queue' end
  if not why then
    local is_new, lost, room = post(to, raw, {})
    local waits, fills = unpack(room and {fill_of(room)} or {})
    if fills == 1 then
      out[#out + 1], out[#out + 2] = place - 5, string.format('filled:%.0f/%.0f', waits, room.bound)
    end
    if lost then why = lost == 'oldest' and 'mailbox_full_oldest' or 'mailbox_full' end
    routed = routed + (lost == 'newest' and 0 or is_new)
  end
  if why then
    out[#out + 1], out[#out + 2] = place - 5, why
    redis.call('HINCRBY', stats, 'dropped:' .. why, 1)
  end
end
out[1] = routed
redis.call('HINCRBY', stats, routed == 0 and 'unrouted' or 'routed', math.max(routed, tonumber(ARGV[7])))
redis.call('SET', KEYS[1], ARGV[5] .. ' ' .. table.concat(out, ' '), 'PX', ARGV[2])
return table.concat(out, ' ')
