-- Orders: what was to be done, what became of it, whether there was trading, and what was on the wire.
--
-- Text that a record does not have is NULL, and so is a price or quantity that it does not have. Prices count 1e-9.

-- `positions` is what everybody calls the positions of the strategies; how far a stream is archived has its own name.
ALTER TABLE positions RENAME TO stream_positions;
ALTER TABLE stream_positions ADD COLUMN venues jsonb NOT NULL DEFAULT '{}'; -- of reports: venue → [last number, its time_ns]
ALTER TABLE gaps ADD COLUMN venue text; -- of reports: whose numbers `first` to `last` are

CREATE TABLE order_instructions (
    time          timestamptz NOT NULL, -- created_ns, cut to µs
    row           bigint      NOT NULL, -- number in its stream, from 1 without a hole
    created_ns    bigint      NOT NULL, -- ns since the epoch
    cause_ns      bigint      NOT NULL, -- ts_recv of the tick that caused it; 0 = none
    instrument_id bigint      NOT NULL,
    quantity      bigint,               -- NULL: a cancel
    price         bigint,               -- NULL: a market order, or a cancel
    publisher_id  integer     NOT NULL,
    stream        smallint    NOT NULL, -- stream_positions.stream
    id            text        NOT NULL, -- made once; the same again: published again, because no report came
    action        text        NOT NULL, -- new, replace, cancel
    of            text,                 -- the order to be replaced or cancelled
    side          text,                 -- buy, sell, sell_short; NULL but for a new order
    tif           text,                 -- day, ioc; NULL but for a new order
    venue         text        NOT NULL,
    symbol        text        NOT NULL,
    strategy      text        NOT NULL
);
CREATE INDEX order_instructions_id ON order_instructions (id, time);
CREATE INDEX order_instructions_of ON order_instructions (of) WHERE of IS NOT NULL;
CREATE INDEX order_instructions_instrument_time ON order_instructions (instrument_id, time);
CREATE INDEX order_instructions_strategy_time ON order_instructions (strategy, time);
CREATE INDEX order_instructions_time ON order_instructions USING brin (time) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE execution_reports (
    time          timestamptz NOT NULL, -- time_ns, cut to µs
    row           bigint      NOT NULL,
    number        bigint      NOT NULL, -- among the reports of the venue in this stream; 0: a denial of a strategy's own
    time_ns       bigint      NOT NULL, -- when the gateway knew, ns since the epoch
    cause_ns      bigint      NOT NULL,
    last_quantity bigint      NOT NULL, -- of this trade; 0 = none
    last_price    bigint,
    filled        bigint      NOT NULL, -- traded in all, with what the replaced orders had traded
    leaves        bigint      NOT NULL, -- open
    instrument_id bigint      NOT NULL, -- 0 = not known
    publisher_id  integer     NOT NULL,
    stream        smallint    NOT NULL,
    kind          text        NOT NULL, -- denied, sent, accepted, rejected, filled, cancelled, replaced, cancel_rejected, broken, unknown
    id            text,
    of            text,
    side          text,
    venue         text,
    strategy      text,
    symbol        text,
    venue_order   text,
    execution     text,
    reason        text,
    text          text
);
CREATE INDEX execution_reports_id ON execution_reports (id, time);
CREATE INDEX execution_reports_of ON execution_reports (of) WHERE of IS NOT NULL;
CREATE INDEX execution_reports_execution ON execution_reports (execution, row) WHERE execution IS NOT NULL;
CREATE INDEX execution_reports_instrument_time ON execution_reports (instrument_id, time);
CREATE INDEX execution_reports_strategy_time ON execution_reports (strategy, time);
CREATE INDEX execution_reports_denied ON execution_reports (time) WHERE kind = 'denied';
CREATE INDEX execution_reports_time ON execution_reports USING brin (time) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE trading_state (
    time    timestamptz NOT NULL,
    row     bigint      NOT NULL,
    time_ns bigint      NOT NULL,
    stream  smallint    NOT NULL,
    mode    text        NOT NULL, -- active, reducing, halted
    by      text,
    reason  text
);
CREATE INDEX trading_state_time ON trading_state (time);

CREATE TABLE drop_copy (
    time     timestamptz NOT NULL,
    row      bigint      NOT NULL,
    time_ns  bigint      NOT NULL,
    stream   smallint    NOT NULL,
    venue    text        NOT NULL,
    way      text        NOT NULL, -- sent, received
    protocol text        NOT NULL,
    bytes    bytea       NOT NULL  -- the message with its framing
);
CREATE INDEX drop_copy_venue_time ON drop_copy (venue, time);

-- Trades and their breaks, each once: told twice they count once. `sign` is -1 for a break.
CREATE VIEW trades_and_breaks AS
SELECT f.time, f.time_ns, f.cause_ns, f.strategy, f.venue, f.symbol, f.publisher_id, f.instrument_id, f.id, f.side,
       f.last_quantity AS quantity, f.last_price::double precision / 1e9 AS price,
       CASE f.kind WHEN 'filled' THEN 1 ELSE -1 END AS sign, f.execution, f.venue_order, f.reason, f.stream, f.row
FROM execution_reports f
WHERE f.kind IN ('filled', 'broken') AND f.last_quantity <> 0
  AND NOT EXISTS (
      SELECT FROM execution_reports e
      WHERE e.execution = f.execution AND e.kind = f.kind AND e.venue = f.venue AND e.id = f.id
        AND (e.stream, e.row) < (f.stream, f.row));

-- Trades that stand. A break names the trade, and the order that is in force by then: it voids the last trade of that name
-- before it. A venue's names begin anew each day.
CREATE VIEW fills AS
SELECT f.time, f.time_ns, f.cause_ns, f.strategy, f.venue, f.symbol, f.publisher_id, f.instrument_id, f.id, f.side,
       f.quantity, f.price, f.execution, f.venue_order, f.reason, f.stream, f.row
FROM trades_and_breaks f
WHERE f.sign = 1 AND NOT EXISTS (
    SELECT FROM execution_reports b
    WHERE b.execution = f.execution AND b.kind = 'broken' AND b.venue = f.venue AND b.stream = f.stream AND b.row > f.row
      AND b.strategy IS NOT DISTINCT FROM f.strategy AND b.instrument_id = f.instrument_id
      AND b.side IS NOT DISTINCT FROM f.side AND b.time < f.time + interval '1 day'
      AND NOT EXISTS (
          SELECT FROM execution_reports h
          WHERE h.execution = f.execution AND h.kind = 'filled' AND h.venue = f.venue AND h.stream = f.stream
            AND h.row > f.row AND h.row < b.row AND h.id <> f.id AND h.side IS NOT DISTINCT FROM f.side));

-- Each order (a new one or a replacement) with its last state. An order whose instruction is not in the archive is
-- here by its first report, and has no quantity then. A strategy's cancel that was carried out is told under the cancel's
-- id, `of` the order; an answer to an id that was known already (`repeated`) tells nothing new.
CREATE VIEW orders AS
WITH known AS (
    SELECT i.time, i.id, i.strategy, i.venue, i.symbol, i.publisher_id, i.instrument_id, i.of, i.side, i.tif,
           i.quantity, i.price, i.cause_ns, i.created_ns
    FROM order_instructions i
    WHERE i.action <> 'cancel' AND NOT EXISTS (
        SELECT FROM order_instructions e WHERE e.id = i.id AND (e.stream, e.row) < (i.stream, i.row))
    UNION ALL
    SELECT r.time, r.id, r.strategy, r.venue, r.symbol, r.publisher_id, r.instrument_id, r.of, r.side, NULL,
           NULL, NULL, r.cause_ns, NULL
    FROM execution_reports r
    WHERE r.id IS NOT NULL
      AND (r.of IS NULL OR EXISTS (
          SELECT FROM execution_reports a
          WHERE a.id = r.id AND a.kind IN ('accepted', 'replaced', 'filled', 'rejected')))
      AND NOT EXISTS (SELECT FROM order_instructions i WHERE i.id = r.id)
      AND NOT EXISTS (SELECT FROM execution_reports e WHERE e.id = r.id AND (e.stream, e.row) < (r.stream, r.row))
), told AS (
    SELECT k.*, s.*, t.replaced_by, p.average_price,
           CASE
               WHEN t.replaced_by IS NOT NULL THEN 'replaced'
               WHEN s.last_time IS NULL THEN 'unreported'
               WHEN s.refused AND coalesce(s.kind, 'sent') IN ('sent', 'unknown') THEN 'rejected'
               WHEN s.kind IN ('denied', 'rejected', 'cancelled', 'sent', 'unknown') THEN s.kind
               WHEN s.leaves = 0 THEN 'filled'
               WHEN s.filled > 0 THEN 'partly_filled'
               ELSE 'open'
           END AS state
    FROM known k
    CROSS JOIN LATERAL (
        SELECT (array_agg(r.kind ORDER BY r.stream DESC, r.row DESC)
                    FILTER (WHERE r.kind NOT IN ('broken', 'cancel_rejected') AND r.reason IS DISTINCT FROM 'repeated'))[1] AS kind,
               (array_agg(r.filled ORDER BY r.stream DESC, r.row DESC) FILTER (WHERE r.kind <> 'cancel_rejected'))[1] AS filled,
               (array_agg(r.leaves ORDER BY r.stream DESC, r.row DESC) FILTER (WHERE r.kind <> 'cancel_rejected'))[1] AS leaves,
               (array_agg(r.reason ORDER BY r.stream DESC, r.row DESC)
                    FILTER (WHERE r.kind <> 'broken' AND r.reason IS DISTINCT FROM 'repeated'))[1] AS reason,
               (array_agg(r.text ORDER BY r.stream DESC, r.row DESC)
                    FILTER (WHERE r.kind <> 'broken' AND r.reason IS DISTINCT FROM 'repeated'))[1] AS text,
               bool_or(r.kind = 'cancel_rejected') AS refused,
               max(r.side) AS told_side, max(r.venue_order) AS venue_order, max(r.time) AS last_time,
               min(r.time_ns) FILTER (WHERE r.kind = 'sent') AS sent_ns,
               min(r.time_ns) FILTER (WHERE r.kind IN ('accepted', 'rejected', 'filled', 'replaced', 'cancelled',
                                                       'cancel_rejected')) AS answered_ns
        FROM execution_reports r WHERE r.id = k.id OR (r.of = k.id AND r.kind = 'cancelled')
    ) s
    LEFT JOIN LATERAL (
        SELECT r.id AS replaced_by FROM execution_reports r WHERE r.of = k.id AND r.kind = 'replaced' LIMIT 1
    ) t ON true
    CROSS JOIN LATERAL (
        SELECT sum(f.quantity * f.price) / sum(f.quantity) FILTER (WHERE f.price IS NOT NULL)::double precision AS average_price
        FROM fills f WHERE f.id = k.id
    ) p
)
SELECT time, id, strategy, venue, symbol, publisher_id, instrument_id,
       CASE WHEN of IS NULL THEN 'new' ELSE 'replace' END AS action, of, replaced_by, coalesce(side, told_side) AS side, tif,
       quantity, price::double precision / 1e9 AS price, state, coalesce(filled, 0) AS filled,
       CASE WHEN state IN ('replaced', 'rejected', 'denied', 'cancelled') THEN 0 ELSE leaves END AS leaves,
       average_price, reason, text, venue_order, time AS first_time, greatest(time, last_time) AS last_time,
       CASE WHEN cause_ns <> 0 THEN created_ns - cause_ns END AS tick_to_order_ns,
       CASE WHEN cause_ns <> 0 THEN sent_ns - cause_ns END AS tick_to_sent_ns,
       answered_ns - sent_ns AS round_trip_ns, cause_ns, created_ns
FROM told;

-- What each strategy holds: all trades less those declared void, as the gateway counts.
CREATE VIEW positions AS
WITH sums AS (
    SELECT strategy, publisher_id, instrument_id, max(symbol) AS symbol,
           coalesce(sum(sign * quantity) FILTER (WHERE side = 'buy'), 0)::bigint AS bought,
           coalesce(sum(sign * quantity) FILTER (WHERE side <> 'buy'), 0)::bigint AS sold,
           coalesce(sum(sign * quantity) FILTER (WHERE side = 'buy' AND price IS NOT NULL), 0)::bigint AS bought_priced,
           coalesce(sum(sign * quantity) FILTER (WHERE side <> 'buy' AND price IS NOT NULL), 0)::bigint AS sold_priced,
           coalesce(sum(sign * quantity * price) FILTER (WHERE side = 'buy'), 0) AS paid,
           coalesce(sum(sign * quantity * price) FILTER (WHERE side <> 'buy'), 0) AS received,
           count(*) FILTER (WHERE sign = 1) AS trades, count(*) FILTER (WHERE sign = -1) AS broken,
           count(*) FILTER (WHERE side IS NULL) AS trades_without_side,
           count(*) FILTER (WHERE price IS NULL) AS trades_without_price,
           max(time) AS last_time
    FROM trades_and_breaks
    GROUP BY strategy, publisher_id, instrument_id
)
SELECT strategy, publisher_id, instrument_id, symbol, bought - sold AS position, bought, sold,
       paid / nullif(bought_priced, 0) AS average_bought, received / nullif(sold_priced, 0) AS average_sold,
       received - paid AS cash, -- without the contract's multiplier
       trades, broken,
       trades_without_side,  -- of orders that the gateway does not know: in no sum
       trades_without_price, -- never told, found by asking how a market order stands: in no price, not in cash
       last_time
FROM sums;

-- What was denied, by day (UTC), who denied it and why.
CREATE VIEW denials AS
SELECT (time AT TIME ZONE 'UTC')::date AS day, strategy, venue, CASE WHEN number = 0 THEN 'strategy' ELSE 'gateway' END AS by,
       reason, count(*) AS count, min(time) AS first_time, max(time) AS last_time,
       (array_agg(text ORDER BY time DESC))[1] AS last_text
FROM execution_reports
WHERE kind = 'denied'
GROUP BY 1, 2, 3, 4, 5;
