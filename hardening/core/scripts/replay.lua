-- uses: clock message receipt places exhumation
-- Returns dead letters to their queues: each entry leaves as its message comes back, so two operators
-- who replay at once produce one message. The messages come rewritten, with new ids and fresh retries. What would
-- go to a key that is no list stays.
-- KEYS: queues
-- ARGV: prefix, receipt_ttl_ms, worker, then for each: entry id, group, list, raw
-- returns: how many were replayed
local prefix, ttl, worker, replayed, stock, lists, gone = ARGV[1], ARGV[2], ARGV[3], 0, 0, {}, {}

local function raws_for(key)
  if lists[key] == nil then
    local kind = redis.call('TYPE', key).ok
    lists[key] = (kind == 'list' or kind == 'none') and {}
  end
  return lists[key]
end

for i = 4, #ARGV, 4 do
  local raws, raw = raws_for(ARGV[i + 2]), ARGV[i + 3]
  if raws and exhume(prefix, ARGV[i], ARGV[i + 1], gone) then
    raws[#raws + 1] = raw
    local receipt = receipt_id(raw)
    if receipt and redis.call('EXISTS', prefix .. ':delivery:' .. receipt) == 1 then
      redis.call('HSET', prefix .. ':delivery:' .. receipt, 'message', message_id(raw),
        'queue', queue_of(ARGV[i + 2]))
      note(prefix, ttl, raw, 'queued', worker)
    end
    if not is_marked(raw) then stock = stock + 1 end
    replayed = replayed + 1
  end
end
for list, raws in pairs(lists) do
  if raws and #raws > 0 then
    redis.call('LPUSH', list, unpack(raws))
    ring(prefix, list)
    redis.call('SADD', KEYS[1], queue_of(list))
  end
end
forget(prefix, gone)
if stock > 0 then count(prefix, 'adopted', -stock) end
if replayed > 0 then count(prefix, 'replayed', replayed) end
return replayed
