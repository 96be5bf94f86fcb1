-- uses: leadership
-- Gives the lead of an election away, and wakes one of those who stand by.
-- KEYS: election, vacancy
-- ARGV: token
-- returns: 1 it led, 0 it did not
return give_lead(KEYS[1], ARGV[1], KEYS[2])
