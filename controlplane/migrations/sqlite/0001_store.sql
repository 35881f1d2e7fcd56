-- Versions of documents. Only ever added to.
CREATE TABLE versions (
    service TEXT NOT NULL,
    version BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    document TEXT NOT NULL,
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    time_ns BIGINT NOT NULL,
    PRIMARY KEY (service, version)
);
CREATE TRIGGER versions_stay BEFORE UPDATE ON versions
BEGIN SELECT RAISE(ABORT, 'versions are only added'); END;
CREATE TRIGGER versions_are_kept BEFORE DELETE ON versions
BEGIN SELECT RAISE(ABORT, 'versions are only added'); END;

-- Who did what. Each entry's sha256 is over the one before and its own fields.
CREATE TABLE audit (
    seq BIGINT NOT NULL PRIMARY KEY,
    time_ns BIGINT NOT NULL,
    who TEXT NOT NULL,
    role TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status BIGINT NOT NULL,
    reason TEXT NOT NULL,
    details TEXT NOT NULL,
    previous TEXT NOT NULL,
    sha256 TEXT NOT NULL
);
CREATE INDEX audit_who ON audit (who, seq);
CREATE INDEX audit_action ON audit (action, seq);
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is only added to'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is only added to'); END;

-- Of a secret its SHA-256.
CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_ns BIGINT NOT NULL,
    expires_ns BIGINT,
    revoked_ns BIGINT
);

-- Answers kept for idempotency keys.
CREATE TABLE answers (
    token_id TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status BIGINT NOT NULL,
    body TEXT NOT NULL,
    version BIGINT,
    location TEXT NOT NULL,
    time_ns BIGINT NOT NULL,
    PRIMARY KEY (token_id, key)
);
CREATE INDEX answers_time ON answers (time_ns);

-- The trading state that is wanted. One row.
CREATE TABLE trading (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL,
    mode TEXT NOT NULL,
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    time_ns BIGINT NOT NULL
);
