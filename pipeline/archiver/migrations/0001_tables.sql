-- The tables of the archive, as every PostgreSQL can have them. What TimescaleDB adds (hypertables, aggregates,
-- policies) is laid over them at each start, because a server can gain or lose it: src/shape.rs.
--
-- Columns are ordered widest first, so that no row holds padding. Unsigned 64-bit numbers are stored bit for bit:
-- 2^64 - 1 reads as -1.

CREATE TABLE ticks (
    time          timestamptz NOT NULL, -- ts_recv, cut to µs
    row           bigint      NOT NULL, -- number of the tick in its stream, from 1 without a hole
    ts_event      bigint      NOT NULL, -- ns since the epoch; 0 = none
    ts_recv       bigint      NOT NULL, -- ns since the epoch
    sequence      bigint      NOT NULL,
    order_id      bigint      NOT NULL,
    price         bigint      NOT NULL, -- 1e-9; 2^63 - 1 = none
    size          bigint      NOT NULL, -- 4294967295 = not known
    instrument_id bigint      NOT NULL,
    ts_in_delta   integer     NOT NULL, -- ns
    publisher_id  integer     NOT NULL,
    channel_id    integer     NOT NULL,
    stream        smallint    NOT NULL, -- positions.stream
    flags         smallint    NOT NULL,
    depth         smallint    NOT NULL,
    clock         smallint    NOT NULL,
    reserved      smallint    NOT NULL,
    action        "char"      NOT NULL,
    side          "char"      NOT NULL,
    source        "char"      NOT NULL
);
-- The query that people run: one instrument, a span of time.
CREATE INDEX ticks_instrument_time ON ticks (instrument_id, time);
-- All instruments in a span of time; rows come nearly in order of time, so that a few pages index a whole chunk.
CREATE INDEX ticks_time ON ticks USING brin (time) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE features (
    time          timestamptz        NOT NULL, -- time_ns, cut to µs
    row           bigint             NOT NULL, -- number of the record in its stream as archived, from 1 without a hole
    number        bigint             NOT NULL, -- number that the record was published with
    time_ns       bigint             NOT NULL, -- ts_recv of the tick that brought it about
    instrument_id bigint             NOT NULL,
    sequence      bigint             NOT NULL,
    schema_id     bigint             NOT NULL, -- feature_schemas.schema_id
    publisher_id  integer            NOT NULL,
    channel_id    integer            NOT NULL,
    stream        smallint           NOT NULL,
    quality       smallint           NOT NULL, -- bits: 1 bad book, 2 gap in window, 4 warming up, 8 bad time
    values        double precision[] NOT NULL
);
CREATE INDEX features_instrument_time ON features (instrument_id, schema_id, time);
CREATE INDEX features_time ON features USING brin (time) WITH (pages_per_range = 32, autosummarize = on);

-- What is missing or was refused, and where.
CREATE TABLE gaps (
    time       timestamptz NOT NULL, -- when the entry that tells it was written, by Redis's clock
    stream     smallint    NOT NULL,
    before_row bigint      NOT NULL, -- the row that follows it
    channel_id integer,              -- of ticks
    first      bigint,               -- sequence numbers of ticks, record numbers of features
    last       bigint,
    reason     text        NOT NULL, -- lost, ring_full, spool_full, offline, trimmed, redis_lost, malformed, repeated, restarted
    entry_id   text        NOT NULL,
    detail     text        NOT NULL
);
CREATE INDEX gaps_stream_row ON gaps (stream, before_row);
CREATE INDEX gaps_time ON gaps (time);

CREATE TABLE feature_schemas (
    schema_id bigint PRIMARY KEY,
    id_hex    text        NOT NULL, -- as it is in the stream
    feature_set text      NOT NULL,
    names     text[]      NOT NULL, -- of the values, in order
    units     text[]      NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE instruments (
    publisher_id  integer NOT NULL,
    instrument_id bigint  NOT NULL,
    symbol        text    NOT NULL,
    tick_size     bigint,           -- 1e-9; NULL = the venue does not say
    multiplier    bigint,           -- 1e-9
    lot_size      bigint  NOT NULL, -- 0 = the venue does not say
    kind          text    NOT NULL,
    product_group text    NOT NULL,
    currency      text    NOT NULL,
    channel_id    integer NOT NULL,
    changed_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (publisher_id, instrument_id)
);
CREATE INDEX instruments_symbol ON instruments (symbol);

-- How far each stream is archived: written in the transaction that brings the rows.
CREATE TABLE positions (
    stream       smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text        NOT NULL UNIQUE, -- the stream's name in Redis
    kind         text        NOT NULL,        -- ticks or features
    entry_id     text        NOT NULL DEFAULT '0-0',
    token        bigint      NOT NULL DEFAULT 0, -- of the lease of the member that writes; a lower one is refused
    next_row     bigint      NOT NULL DEFAULT 1,
    number       bigint      NOT NULL DEFAULT 0, -- of features: the last record's
    channels     jsonb       NOT NULL DEFAULT '{}', -- of ticks: channel → last sequence number covered
    committed_at timestamptz NOT NULL DEFAULT now()
);

-- Ticks in units for people. Filter by instrument_id and time: symbol is looked up last.
CREATE VIEW ticks_human AS
SELECT t.time, i.symbol, t.publisher_id, t.instrument_id, t.channel_id,
       CASE WHEN t.sequence < 0 THEN t.sequence + 18446744073709551616 ELSE t.sequence END AS sequence,
       t.action, t.side,
       CASE WHEN t.price <> 9223372036854775807 THEN t.price::double precision / 1e9 END AS price,
       CASE WHEN t.size <> 4294967295 THEN t.size END AS size,
       CASE WHEN t.order_id < 0 THEN t.order_id + 18446744073709551616 ELSE t.order_id END AS order_id,
       t.depth, t.flags & 128 <> 0 AS last_of_event, t.flags & 4 <> 0 AS maybe_bad_book,
       CASE WHEN t.ts_event <> 0 THEN timestamptz 'epoch' + t.ts_event / 1000 * interval '1 microsecond' END AS event_time,
       t.ts_in_delta, t.source, t.stream, t.row
FROM ticks t LEFT JOIN instruments i USING (publisher_id, instrument_id);

-- One line for each value of a record of features.
CREATE VIEW features_long AS
SELECT f.time, f.time_ns, i.symbol, f.publisher_id, f.instrument_id, s.feature_set, v.name, v.unit, v.value, f.quality,
       f.stream, f.number
FROM features f
JOIN feature_schemas s USING (schema_id)
LEFT JOIN instruments i USING (publisher_id, instrument_id)
CROSS JOIN LATERAL unnest(s.names, s.units, f.values) AS v (name, unit, value);
