-- Which messages of an entry have not ended, of the receipts given with blanks between.
local function unended(prefix, receipts)
  local found = {}
  for receipt in string.gmatch(receipts, '%S+') do
    local state = redis.call('HGET', prefix .. ':delivery:' .. receipt, 'state')
    if state and state ~= 'acked' and state ~= 'dead' then found[#found + 1] = receipt end
  end
  return found
end
