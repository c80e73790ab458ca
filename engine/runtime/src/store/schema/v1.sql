-- Version 1 of the journal. Applied inside one transaction; `user_version` is set by the code that applies it.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- `head_seq` and `head_hash` name the last event of the run, so a cut tail is noticed.
-- `status` is a cache for listings; the events are the truth.
CREATE TABLE run (
  id            TEXT    PRIMARY KEY,
  blueprint     TEXT    NOT NULL,
  digest        TEXT    NOT NULL,
  created_at_ms INTEGER NOT NULL,
  status        TEXT    NOT NULL,
  head_seq      INTEGER NOT NULL,
  head_hash     BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

-- Either `body` holds the text, or `blob` names the file that does.
CREATE TABLE event (
  run   TEXT    NOT NULL REFERENCES run (id),
  seq   INTEGER NOT NULL,
  v     INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  kind  TEXT    NOT NULL,
  body  TEXT,
  blob  BLOB,
  hash  BLOB    NOT NULL,
  PRIMARY KEY (run, seq),
  CHECK ((body IS NULL) <> (blob IS NULL))
) STRICT, WITHOUT ROWID;

-- The row stays after a release, without an owner, so an epoch is never given twice.
CREATE TABLE lease (
  run           TEXT    PRIMARY KEY REFERENCES run (id),
  epoch         INTEGER NOT NULL,
  pid           INTEGER,
  start_time    INTEGER,
  pid_namespace INTEGER,
  host          TEXT    NOT NULL,
  boot_id       TEXT,
  since_ms      INTEGER NOT NULL,
  heartbeat_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  run       TEXT    NOT NULL REFERENCES run (id),
  at_ms     INTEGER NOT NULL,
  body      TEXT    NOT NULL,
  taken_seq INTEGER
) STRICT;

CREATE INDEX inbox_pending ON inbox (run, id) WHERE taken_seq IS NULL;

-- An append is one row inserted into this view: one statement is one transaction, so it cannot be left half
-- done by an error or by a caller that goes away, and it costs one message to the database thread.
CREATE VIEW append (run, epoch, v, head_seq, head_hash, last_seq, last_hash, status, taking, events) AS
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE 0;

CREATE TRIGGER append_events INSTEAD OF INSERT ON append
BEGIN
  SELECT RAISE (ABORT, 'append: fenced')
  WHERE NOT EXISTS (SELECT 1 FROM lease WHERE run = NEW.run AND epoch = NEW.epoch);

  UPDATE run
  SET head_seq = NEW.last_seq, head_hash = NEW.last_hash, status = coalesce(NEW.status, status)
  WHERE id = NEW.run AND head_seq = NEW.head_seq AND head_hash = NEW.head_hash;

  SELECT RAISE (ABORT, 'append: moved') WHERE changes() <> 1;

  INSERT INTO event (run, seq, v, at_ms, kind, body, blob, hash)
  SELECT NEW.run, NEW.head_seq + 1 + key, NEW.v,
         value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3), unhex(value ->> 4)
  FROM json_each(NEW.events);

  UPDATE inbox
  SET taken_seq = NEW.last_seq
  WHERE NEW.taking IS NOT NULL AND run = NEW.run AND taken_seq IS NULL
    AND id IN (SELECT value FROM json_each(NEW.taking));

  SELECT RAISE (ABORT, 'append: taken')
  WHERE NEW.taking IS NOT NULL AND changes() <> json_array_length(NEW.taking);
END;
