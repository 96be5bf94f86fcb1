-- uses: clock message receipt places
-- Settles what is done and marks what is begun. Works on a full Redis: the first write only frees memory.
-- A seq that ends in '+' has a receipt or a crash count, so its entry is looked at; the rest is not read.
-- KEYS: inflight, started, crashes
-- ARGV: prefix, receipt_ttl_ms, worker, number of acks, their seqs ..., seqs begun ...
-- returns: how many of the acks removed an entry
local prefix, ttl, worker, last_ack = ARGV[1], ARGV[2], ARGV[3], 4 + tonumber(ARGV[4])
local acked = 0

local function look(seq)
  if string.byte(seq, -1) ~= 43 then return seq end
  seq = string.sub(seq, 1, -2)
  local entry = redis.call('HGET', KEYS[1], seq)
  return seq, entry and select(2, split(entry))
end

for i = 5, last_ack do
  local seq, raw = look(ARGV[i])
  acked = acked + redis.call('HDEL', KEYS[1], seq)
  redis.call('HDEL', KEYS[2], seq)
  if raw then
    redis.call('HDEL', KEYS[3], message_id(raw))
    note(prefix, ttl, raw, 'acked', worker)
  end
end
if acked > 0 then count(prefix, 'acked', acked) end
if #ARGV == last_ack then return acked end

local now = now_ms()
if last_ack == 4 then redis.call('HDEL', KEYS[2], '') end
for i = last_ack + 1, #ARGV do
  local seq, raw = look(ARGV[i])
  if redis.call('HEXISTS', KEYS[1], seq) == 1 then
    redis.call('HSET', KEYS[2], seq, now)
    if raw then note(prefix, ttl, raw, 'started', worker) end
  end
end
return acked
