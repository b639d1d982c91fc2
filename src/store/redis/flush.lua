-- Adds what some partitions of one shard counted, and moves their offsets; or writes nothing at all.
--
-- KEYS: the hash of each partition; then for each bucket its sum and, if it has keys, its keys; if it sums up and has
--   keys, their amounts; if it tells apart, its set, and the set of each key.
-- ARGV: the time in ms, the number of partitions, the number of buckets;
--   for each partition: the next_offset that must be stored ('' = none), whether it counted ('1' or '0'), from, to,
--     watermark ('' = none), fingerprint ('' = none), behind a gap the start_offset and between which times records are
--     missing ('', '', '' = no gap), high_watermark ('' = unknown), partitions, state, reason, missing, and the ledger
--     in the order of LEDGER;
--   for each bucket: total, when it expires, max_keys, how many keys, what it measures (a kind), and the measure; then
--     of each key itself, its count and its measure.
--   A measure is nothing for 'count'; high, low, min and max for 'sum'; how many members and these for 'distinct'.
-- Answers {'applied'}, or {'conflict', the stored next_offset of each partition ('' = none)}.
--
-- A script is not rolled back: everything is read and checked before the first write. Offsets and counts stay
-- strings, for a Lua number loses digits above 2^53.

local LEDGER = {'consumed', 'counted', 'duplicate', 'filtered', 'expired', 'dead_lettered', 'skipped', 'lost'}
local CHUNK = 1000 -- fields of one command: `unpack` puts them on a stack that ends at about 8,000

local problem

local function wrong(key, what)
  problem = problem or redis.error_reply('CORRUPT ' .. key .. ': ' .. what)
end

local function called(key, command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) == 'table' and reply.err then
    if string.find(reply.err, 'WRONGTYPE', 1, true) then
      wrong(key, command == 'GETRANGE' and 'is no set' or 'is no hash')
    end
    problem = problem or reply
    return nil
  end
  return reply
end

local function fields(key, names)
  local found = {}
  for first = 1, #names, CHUNK do
    local last = math.min(first + CHUNK - 1, #names)
    local values = called(key, 'HMGET', key, unpack(names, first, last))
    if not values then return nil end
    for i = 1, last - first + 1 do
      found[first + i - 1] = values[i]
    end
  end
  return found
end

-- HINCRBY takes what this lets through, and the sum of two such numbers fits 64 bits.
local function check_count(key, field, value)
  if value and value ~= '0' and not (#value <= 18 and string.find(value, '^[1-9]%d*$')) then
    wrong(key, 'field ' .. field .. ' is no count that can be added to')
  end
end

local function is_integer(value)
  return value == '0' or string.find(value, '^%-?[1-9]%d*$')
end

local function less(a, b)
  local minus_a, minus_b = string.sub(a, 1, 1) == '-', string.sub(b, 1, 1) == '-'
  if minus_a ~= minus_b then return minus_a end
  if minus_a then a, b = string.sub(b, 2), string.sub(a, 2) end
  if #a ~= #b then return #a < #b end
  return a < b
end

-- What to write, gathered while checking. A sum of small numbers is exact in Lua too, so many are set by one command;
-- large ones are left to HINCRBY. Each is written at most once, but for `other`, which many keys add to.
local writes = 0
local keys, names, counts = {}, {}, {}
local function add(key, field, n)
  writes = writes + 1
  keys[writes], names[writes], counts[writes] = key, field, n
end

local SMALL = 15 -- digits: two such numbers add up to less than 2^53
local sets = {}

local now_ms, partitions, buckets = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local at = 3 -- the last of ARGV that was taken

local parts, answer, conflict = {}, {'conflict'}, false
local PARTITION = {'next_offset', 'watermark', 'lost_from', 'lost_until', unpack(LEDGER)}
for p = 1, partitions do
  local part = {
    key = KEYS[p], expected = ARGV[at + 1], counted = ARGV[at + 2] == '1', from = ARGV[at + 3], to = ARGV[at + 4],
    watermark = ARGV[at + 5], fingerprint = ARGV[at + 6],
    start = ARGV[at + 7], lost_from = ARGV[at + 8], lost_until = ARGV[at + 9],
    high_watermark = ARGV[at + 10], partitions = ARGV[at + 11],
    state = ARGV[at + 12], reason = ARGV[at + 13], missing = ARGV[at + 14],
  }
  at = at + 14
  local stored = fields(part.key, PARTITION)
  if not stored then return problem end
  part.next, part.stored_watermark = stored[1] or '', stored[2] or ''
  part.stored_from, part.stored_until = stored[3] or '', stored[4] or ''
  answer[p + 1] = part.next
  conflict = conflict or part.next ~= part.expected
  for _, time in ipairs({part.stored_watermark, part.stored_from, part.stored_until}) do
    if time ~= '' and not is_integer(time) then
      wrong(part.key, 'field watermark, lost_from or lost_until is no time')
    end
  end
  for i, name in ipairs(LEDGER) do
    check_count(part.key, name, stored[i + 4])
    if part.counted then add(part.key, name, ARGV[at + i]) end
  end
  at = at + #LEDGER
  parts[p] = part
end
if conflict then return answer end

local key_at = partitions -- the last of KEYS that was taken
local expiries = {}

-- Sums are in two parts, see `parts.rs`: those of both are exact in Lua too. `value_high` is there once it is needed.
local BASE = 1e15
local AMOUNTS = {'value', 'value_high', 'min', 'max'}

local function amounts_of(key, present, high, low, min, max)
  for i = 1, 4 do
    if present[i] and not (#present[i] <= 19 and is_integer(present[i])) then
      wrong(key, 'field ' .. AMOUNTS[i] .. ' is no number that can be added to')
    end
  end
  if problem then return {} end
  local l = tonumber(present[1] or '0') + tonumber(low)
  local h = tonumber(present[2] or '0') + tonumber(high)
  if l >= BASE then l, h = l - BASE, h + 1 elseif l <= -BASE then l, h = l + BASE, h - 1 end
  if h > 0 and l < 0 then l, h = l + BASE, h - 1 elseif h < 0 and l > 0 then l, h = l - BASE, h + 1 end
  local set = {string.format('%.0f', l)}
  if h ~= 0 or present[2] then set[2] = string.format('%.0f', h) end
  if not present[3] or less(min, present[3]) then set[3] = min end
  if not present[4] or less(present[4], max) then set[4] = max end
  return set
end

-- Takes a measure off ARGV.
local function measure(kind)
  if kind == 'count' then return nil end
  if kind == 'sum' then
    at = at + 4
    return {ARGV[at - 3], ARGV[at - 2], ARGV[at - 1], ARGV[at]}
  end
  local members = {}
  for i = 1, tonumber(ARGV[at + 1]) do
    members[i] = ARGV[at + 1 + i]
  end
  at = at + 1 + #members
  return members
end

local unions = {}
-- A set is added to before anything else is written: should that fail, nothing has been counted.
local function unite(key, members, expires)
  local head = called(key, 'GETRANGE', key, 0, 3)
  if head and head ~= '' and head ~= 'HYLL' then wrong(key, 'is no set') end
  unions[#unions + 1] = {key, members}
  expiries[#expiries + 1] = {key, expires}
end

for _ = 1, buckets do
  local sum_key, total, expires = KEYS[key_at + 1], ARGV[at + 1], ARGV[at + 2]
  local max_keys, count, kind = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), ARGV[at + 5]
  key_at, at = key_at + 1, at + 5
  local of_all = measure(kind)
  local sum = fields(sum_key, {'total', 'other', unpack(kind == 'sum' and AMOUNTS or {})})
  if not sum then return problem end
  check_count(sum_key, 'total', sum[1])
  check_count(sum_key, 'other', sum[2])
  add(sum_key, 'total', total)
  if not sum[2] then add(sum_key, 'other', '0') end -- a reader finds both fields
  expiries[#expiries + 1] = {sum_key, expires}
  if kind == 'sum' then
    local set = {}
    for i, value in pairs(amounts_of(sum_key, {sum[3], sum[4], sum[5], sum[6]}, unpack(of_all))) do
      set[#set + 1], set[#set + 2] = AMOUNTS[i], value
    end
    sets[#sets + 1] = {sum_key, set, #set}
  end
  local keys_key = KEYS[key_at + 1]
  if count > 0 then key_at = key_at + 1 end
  local amounts_key = KEYS[key_at + 1]
  if kind == 'sum' and count > 0 then key_at = key_at + 1 end
  if kind == 'distinct' then
    key_at = key_at + 1
    unite(KEYS[key_at], of_all, expires)
  end
  if count > 0 then
    local touched, added, measures = {}, {}, {}
    for i = 1, count do
      touched[i], added[i] = ARGV[at + 1], ARGV[at + 2]
      at = at + 2
      measures[i] = measure(kind)
    end
    local sets_at = key_at
    if kind == 'distinct' then key_at = key_at + count end
    local present = fields(keys_key, touched)
    local held = present and called(keys_key, 'HLEN', keys_key)
    if not held then return problem end
    local known = {}
    if kind == 'sum' then
      local names = {}
      for i = 1, count do
        for j, name in ipairs(AMOUNTS) do names[4 * i - 4 + j] = name .. ':' .. touched[i] end
      end
      known = fields(amounts_key, names)
      if not known then return problem end
      expiries[#expiries + 1] = {amounts_key, expires}
    end
    local set, size, amounts = {}, 0, {}
    for i = 1, count do
      local before, n = present[i], added[i]
      if before then
        check_count(keys_key, 'of a key', before)
        if problem then return problem end
      elseif held < max_keys then
        held, before = held + 1, '0'
      end
      if before and kind == 'sum' then
        local stored = {known[4 * i - 3], known[4 * i - 2], known[4 * i - 1], known[4 * i]}
        for j, value in pairs(amounts_of(amounts_key, stored, unpack(measures[i]))) do
          amounts[#amounts + 1], amounts[#amounts + 2] = AMOUNTS[j] .. ':' .. touched[i], value
        end
      elseif before and kind == 'distinct' then
        unite(KEYS[sets_at + i], measures[i], expires)
      end
      if not before then
        add(sum_key, 'other', n)
      elseif #before <= SMALL and #n <= SMALL then
        set[size + 1], set[size + 2] = touched[i], tonumber(before) + tonumber(n)
        size = size + 2
      else
        add(keys_key, touched[i], n)
      end
    end
    sets[#sets + 1] = {keys_key, set, size}
    sets[#sets + 1] = {amounts_key, amounts, #amounts}
    expiries[#expiries + 1] = {keys_key, expires}
  end
end
if problem then return problem end

for _, union in ipairs(unions) do
  for first = 1, #union[2], CHUNK do
    local members = {unpack(union[2], first, math.min(first + CHUNK - 1, #union[2]))}
    local added = redis.pcall('PFADD', union[1], unpack(members))
    if type(added) == 'table' and added.err then
      return redis.error_reply('CORRUPT ' .. union[1] .. ': is no set that can be added to')
    end
  end
end
for i = 1, writes do
  redis.call('HINCRBY', keys[i], names[i], counts[i])
end
for _, set in ipairs(sets) do
  for first = 1, set[3], 2 * CHUNK do
    redis.call('HSET', set[1], unpack(set[2], first, math.min(first + 2 * CHUNK - 1, set[3])))
  end
end
for _, expiry in ipairs(expiries) do
  redis.call('EXPIREAT', expiry[1], expiry[2])
end
for _, part in ipairs(parts) do
  local set = {
    'partitions', part.partitions, 'state', part.state, 'reason', part.reason, 'missing', part.missing,
    'updated_at', now_ms,
  }
  local function put(name, value)
    set[#set + 1] = name
    set[#set + 1] = value
  end
  if part.high_watermark ~= '' then put('high_watermark', part.high_watermark) end
  if part.counted then
    put('next_offset', part.to)
    if part.next == '' then put('start_offset', part.from) end
    if part.start ~= '' then
      -- Behind a gap another log may begin: what is known of the last record holds no longer.
      redis.call('HDEL', part.key, 'fingerprint', 'gap_accepted')
      put('start_offset', part.start)
      if part.stored_from == '' or less(part.lost_from, part.stored_from) then put('lost_from', part.lost_from) end
      if part.stored_until == '' or less(part.stored_until, part.lost_until) then put('lost_until', part.lost_until) end
    end
    if part.fingerprint ~= '' then put('fingerprint', part.fingerprint) end
    if part.watermark ~= '' and (part.stored_watermark == '' or less(part.stored_watermark, part.watermark)) then
      put('watermark', part.watermark)
    end
  end
  redis.call('HSET', part.key, unpack(set))
end
return {'applied'}
