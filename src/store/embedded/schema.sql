-- The counts of the embedded store. Times of buckets are unix seconds, others milliseconds.
-- STRICT: a number stays a number, and a sum that overflows is an error instead of a float.

CREATE TABLE IF NOT EXISTS store_layout (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS store_partition (
  topic TEXT NOT NULL,
  partition INTEGER NOT NULL,
  start_offset INTEGER,
  next_offset INTEGER,
  watermark INTEGER,
  high_watermark INTEGER,
  partitions INTEGER NOT NULL,
  state TEXT NOT NULL,
  reason TEXT,
  updated_at INTEGER NOT NULL,
  fingerprint TEXT,
  consumed INTEGER NOT NULL DEFAULT 0,
  counted INTEGER NOT NULL DEFAULT 0,
  duplicate INTEGER NOT NULL DEFAULT 0,
  filtered INTEGER NOT NULL DEFAULT 0,
  expired INTEGER NOT NULL DEFAULT 0,
  dead_lettered INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0,
  lost INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID;

-- Partitions with gaps: which offsets are missing, at which offset somebody accepted that ('none' when nothing was
-- counted), and between which times records were lost.
CREATE TABLE IF NOT EXISTS store_gap (
  topic TEXT NOT NULL,
  partition INTEGER NOT NULL,
  missing TEXT,
  accepted TEXT,
  lost_from INTEGER,
  lost_until INTEGER,
  PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID;

-- A counter's window, and how many seconds after its start a bucket of it is deleted.
CREATE TABLE IF NOT EXISTS store_series (
  series INTEGER PRIMARY KEY,
  counter TEXT NOT NULL,
  window TEXT NOT NULL,
  lasts INTEGER NOT NULL,
  UNIQUE (counter, window)
) STRICT;

-- `total` includes `other`; `keys` is how many rows of store_key the bucket has.
CREATE TABLE IF NOT EXISTS store_sum (
  series INTEGER NOT NULL,
  start INTEGER NOT NULL,
  total INTEGER NOT NULL,
  other INTEGER NOT NULL,
  keys INTEGER NOT NULL,
  PRIMARY KEY (series, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS store_key (
  series INTEGER NOT NULL,
  start INTEGER NOT NULL,
  key TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (series, start, key)
) STRICT, WITHOUT ROWID;

-- What a sum counter's bucket (keyed = 0, key = '') or a key of it (keyed = 1) adds up to, scaled by the counter's factor:
-- value + value_high * 10^15.
CREATE TABLE IF NOT EXISTS store_amount (
  series INTEGER NOT NULL,
  start INTEGER NOT NULL,
  keyed INTEGER NOT NULL,
  key TEXT NOT NULL,
  value INTEGER NOT NULL,
  value_high INTEGER NOT NULL,
  min INTEGER NOT NULL,
  max INTEGER NOT NULL,
  PRIMARY KEY (series, start, keyed, key)
) STRICT, WITHOUT ROWID;

-- What a distinct counter's bucket or a key of it tells apart: a HyperLogLog as Redis keeps it.
CREATE TABLE IF NOT EXISTS store_distinct (
  series INTEGER NOT NULL,
  start INTEGER NOT NULL,
  keyed INTEGER NOT NULL,
  key TEXT NOT NULL,
  registers BLOB NOT NULL,
  PRIMARY KEY (series, start, keyed, key)
) STRICT;
