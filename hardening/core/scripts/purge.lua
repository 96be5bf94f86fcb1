-- uses: clock message receipt places
-- Purges one list of a queue, up to `limit` messages a call, and says so in the ledger.
-- KEYS: list
-- ARGV: prefix, receipt_ttl_ms, worker, limit
-- returns: how many messages were removed
local raws = redis.call('LPOP', KEYS[1], tonumber(ARGV[4])) or {}
local ours = 0
for _, raw in ipairs(raws) do
  if is_marked(raw) then ours = ours + 1 end
  note(ARGV[1], ARGV[2], raw, 'dead', ARGV[3], 'purged')
end
if ours > 0 then count(ARGV[1], 'purged', ours) end
return #raws
